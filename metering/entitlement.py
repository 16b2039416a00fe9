"""Entitlements: what a customer may use, projected from SQL (or the config) to the gateways. Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class InstanceStatus(StrEnum):
    """The life of an instance as the gateway sees it."""

    CREATING = "creating"
    ACTIVE = "active"
    FROZEN = "frozen"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class EntitledKey:
    """One API key: its digest (metering.keys.digest), never the key itself.

    `expires` in UTC ms, 0 for never; `routes` it may call, none for all.
    """

    key_id: str
    digest: str
    expires: int = 0
    routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntitledInstance:
    """One instance of a customer. The product decides routes, meter and unit.

    `expires` in UTC ms, 0 for never; `trial` was not paid for.
    """

    instance_id: str
    product_id: str
    status: InstanceStatus
    expires: int = 0
    trial: bool = False


@dataclass(frozen=True, slots=True)
class EntitlementSnapshot:
    """Everything a gateway needs to know of one customer."""

    customer_id: str
    name: str
    keys: tuple[EntitledKey, ...] = ()
    instances: tuple[EntitledInstance, ...] = ()


def to_json(snapshot: EntitlementSnapshot) -> str:
    """The snapshot as it stands in Redis."""
    return json.dumps(
        {
            "customer_id": snapshot.customer_id,
            "name": snapshot.name,
            "keys": [[k.key_id, k.digest, k.expires, list(k.routes)] for k in snapshot.keys],
            "instances": [
                [i.instance_id, i.product_id, i.status, i.expires, int(i.trial)]
                for i in snapshot.instances
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(text: str | bytes) -> EntitlementSnapshot:
    """The inverse of `to_json`; raises ValueError, TypeError or KeyError for anything else.

    What version 0.4 wrote is understood too: digests alone, instances without expiry and trial.
    """
    data: dict[str, Any] = json.loads(text)
    return EntitlementSnapshot(
        customer_id=data["customer_id"],
        name=data["name"],
        keys=_keys(data),
        instances=tuple(_instance(*each) for each in data["instances"]),
    )


def _keys(data: dict[str, Any]) -> tuple[EntitledKey, ...]:
    if "keys" not in data:
        return tuple(EntitledKey(digest[:12], digest) for digest in data["key_digests"])
    return tuple(
        EntitledKey(key_id, digest, expires, tuple(routes))
        for key_id, digest, expires, routes in data["keys"]
    )


def _instance(
    instance_id: str, product_id: str, status: str, expires: int = 0, trial: int = 0
) -> EntitledInstance:
    return EntitledInstance(instance_id, product_id, InstanceStatus(status), expires, bool(trial))
