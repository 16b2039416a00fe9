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
class EntitledInstance:
    """One instance of a customer. The product decides routes, meter and unit."""

    instance_id: str
    product_id: str
    status: InstanceStatus


@dataclass(frozen=True, slots=True)
class EntitlementSnapshot:
    """Everything a gateway needs to know of one customer.

    `key_digests` are hex digests made by `metering.keys.digest`; a key itself is never here.
    """

    customer_id: str
    name: str
    key_digests: tuple[str, ...] = ()
    instances: tuple[EntitledInstance, ...] = ()


def to_json(snapshot: EntitlementSnapshot) -> str:
    """The snapshot as it stands in Redis."""
    return json.dumps(
        {
            "customer_id": snapshot.customer_id,
            "name": snapshot.name,
            "key_digests": list(snapshot.key_digests),
            "instances": [[i.instance_id, i.product_id, i.status] for i in snapshot.instances],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(text: str | bytes) -> EntitlementSnapshot:
    """The inverse of `to_json`. Raises ValueError or KeyError for anything else."""
    data: dict[str, Any] = json.loads(text)
    return EntitlementSnapshot(
        customer_id=data["customer_id"],
        name=data["name"],
        key_digests=tuple(data["key_digests"]),
        instances=tuple(
            EntitledInstance(instance_id, product_id, InstanceStatus(status))
            for instance_id, product_id, status in data["instances"]
        ),
    )
