"""What can happen to an instance, and the ids computed from it. Pure.

An event is known by a computed identity, so that a repeat can be answered from the inbox.
"""

import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing_sync.errors import UnknownTransition

# Fixed for ever: instance ids handed to KooGallery are computed in it.
NAMESPACE: Final = uuid.UUID("6d0f2a5e-6c1b-5a57-9d1e-2f8b7c4a9e30")


class Activity(StrEnum):
    """What a callback asks for, in the words of V2.0 (spec §2.6 to §2.12, §4, §6); EXPIRE is V1.0's own."""

    NEW = "newInstance"
    QUERY = "queryInstance"
    REFRESH = "refreshInstance"
    STATUS = "updateInstanceStatus"
    RELEASE = "releaseInstance"
    UPGRADE = "upgradeInstance"
    EXPIRE = "expireInstance"
    CHECK = "changeInstanceCheck"
    NOTIFY = "orderNotify"
    LICENCE = "getLicenseAsync"  # spec §4.1; V1.0's own is getLicense (§4.3)
    CODE_REFRESH = "refreshLicenseCode"  # the last three: authorization codes (§4.2)
    CODE_STATUS = "updateLicenseCodeStatus"
    CODE_RELEASE = "releaseLicenseCode"


class Event(StrEnum):
    """What can happen to an instance. Of two with one timestamp the later one here counts."""

    KNOWN = "known"  # its order, buyer and product were learnt
    ACCEPT = "accept"  # the buyer accepted it: billing begins
    UPGRADE = "upgrade"
    EXPIRE = "expire"  # the period that was paid for is over
    REFRESH = "refresh"  # it is paid for until another time
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """One callback that changes an instance. `sent_at`, `expires` and `accepted` are UTC ms; 0 is
    none. `formal`: a trial is paid for from now on. `apart`: its order line is several instances, which
    `product_id` tells apart."""

    activity: Activity
    event: Event
    instance_id: str
    sent_at: int
    body: str
    order_id: str = ""
    order_line_id: str = ""
    scene: str = ""
    product_id: str = ""
    expires: int = 0
    accepted: int = 0
    formal: bool = False
    apart: bool = False


RENEWAL_CHANGE: Final = "RENEWAL_CHANGE"
TRIAL_TO_FORMAL: Final = "TRIAL_TO_FORMAL"


def instance_id_of(order_id: str, order_line_id: str, product_id: str = "") -> str:
    """The id an order line gets, for ever; `product_id` only when ids are made per product."""
    parts = [order_id, order_line_id] + ([product_id] if product_id else [])
    return str(uuid.uuid5(NAMESPACE, "|".join(parts)))


def creation_identity(event: LifecycleEvent) -> str:
    """businessId is left out on purpose: it differs on every request, retries included."""
    product = (event.product_id,) if event.apart else ()
    return _joined(Activity.NEW, event.order_id, event.order_line_id, *product)


def acceptance_identity(instance_id: str) -> str:
    """An instance is accepted once (V1.0, by a second newInstance, spec §3.4)."""
    return _joined(Activity.NEW, instance_id, Event.ACCEPT, "")


def status_prefix(instance_id: str, event: Event) -> str:
    """How the identities of an instance's status changes to one side begin."""
    return _joined(Activity.STATUS, instance_id, event)[:-1] + ","


def identity(event: LifecycleEvent) -> str:
    """What makes two callbacks the same one.

    A refresh or an upgrade is its order line (spec §2.8, §2.11), a release its instance (§2.10). A
    status change or an expiry has no name of its own, and freeze, unfreeze, freeze are three events:
    its timestamp tells them apart.
    """
    parts: tuple[str, ...]
    match event.activity:
        case Activity.REFRESH:
            parts = (event.instance_id, event.scene, event.order_id, event.order_line_id)
        case Activity.STATUS | Activity.EXPIRE:
            parts = (event.instance_id, event.event, str(event.sent_at))
        case Activity.RELEASE:
            parts = (event.instance_id,)
        case Activity.UPGRADE:
            parts = (event.instance_id, event.order_id, event.order_line_id)
        case _:
            raise UnknownTransition(f"{event.activity} is not an event of an existing instance")
    return _joined(event.activity, *parts)


def _joined(*parts: str) -> str:
    # JSON, because ids from outside may hold any separator.
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
