"""The life of an instance: events, the transition table, and the ids computed from them. Pure.

An event is known by a computed identity, so that a repeat can be answered from the inbox. Status
and expiry each follow the callbacks' own timestamps: what is older than the last one changes nothing.
"""

import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing_sync.errors import UnknownTransition
from metering.entitlement import InstanceStatus

# Fixed for ever: instance ids handed to KooGallery are computed in it.
NAMESPACE: Final = uuid.UUID("6d0f2a5e-6c1b-5a57-9d1e-2f8b7c4a9e30")


class Activity(StrEnum):
    """What a callback asks for, in the wire's own words (spec §2.6 to §2.11)."""

    NEW = "newInstance"
    QUERY = "queryInstance"
    REFRESH = "refreshInstance"
    STATUS = "updateInstanceStatus"
    RELEASE = "releaseInstance"
    UPGRADE = "upgradeInstance"


class Event(StrEnum):
    """What can happen to an instance."""

    KNOWN = "known"  # its order, buyer and product were learnt
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    REFRESH = "refresh"
    RELEASE = "release"
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """One callback that changes an instance. `sent_at` and `expires` are UTC ms; 0 is none."""

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


@dataclass(frozen=True, slots=True)
class State:
    """What of an instance decides about an event. `known` says that its buyer is."""

    status: InstanceStatus
    known: bool
    expires: int = 0
    released: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """The judgement: the state afterwards, whether the event had any say in it, and whether it may
    be answered with success."""

    state: State
    applied: bool = False
    accepted: bool = True


_CREATING, _ACTIVE = InstanceStatus.CREATING, InstanceStatus.ACTIVE
_FROZEN, _RELEASED = InstanceStatus.FROZEN, InstanceStatus.RELEASED

# Frozen twice is frozen, released is the end. An instance that is frozen before its buyer is known
# stays frozen when he becomes known.
TRANSITIONS: Final[dict[InstanceStatus, dict[Event, InstanceStatus]]] = {
    _CREATING: {
        Event.KNOWN: _ACTIVE,
        Event.FREEZE: _FROZEN,
        Event.UNFREEZE: _CREATING,
        Event.REFRESH: _CREATING,
        Event.RELEASE: _RELEASED,
        Event.UPGRADE: _CREATING,
    },
    _ACTIVE: {
        Event.KNOWN: _ACTIVE,
        Event.FREEZE: _FROZEN,
        Event.UNFREEZE: _ACTIVE,
        Event.REFRESH: _ACTIVE,
        Event.RELEASE: _RELEASED,
        Event.UPGRADE: _ACTIVE,
    },
    _FROZEN: {
        Event.KNOWN: _FROZEN,
        Event.FREEZE: _FROZEN,
        Event.UNFREEZE: _ACTIVE,
        Event.REFRESH: _FROZEN,
        Event.RELEASE: _RELEASED,
        Event.UPGRADE: _FROZEN,
    },
    _RELEASED: dict.fromkeys(Event, _RELEASED),
}


def next_status(status: InstanceStatus, event: Event) -> InstanceStatus:
    """One lookup in the table. Raises UnknownTransition, naming state and event."""
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise UnknownTransition(f"no transition for event {event} in state {status}") from None


def decide(state: State, event: LifecycleEvent, last_sent_at: int) -> Change:
    """What an event does. `last_sent_at` is the newest timestamp of the same activity so far.

    A newer wish for service (unfreeze, refresh, upgrade) on a released instance is refused: saying
    success would promise the buyer what is gone. An older one merely came late.
    """
    if state.status is _RELEASED:
        wants_service = event.event in (Event.UNFREEZE, Event.REFRESH, Event.UPGRADE)
        return Change(state, accepted=not (wants_service and event.sent_at > state.released))
    if event.event is not Event.RELEASE and event.sent_at < last_sent_at:
        return Change(state)
    status = next_status(state.status, event.event)
    if status is _ACTIVE and not state.known:
        status = _CREATING
    return Change(
        State(
            status=status,
            known=state.known,
            expires=event.expires if event.event is Event.REFRESH else state.expires,
            released=event.sent_at if status is _RELEASED else 0,
        ),
        applied=True,
    )


def instance_id_of(order_id: str, order_line_id: str, product_id: str = "") -> str:
    """The id an order line gets, for ever; `product_id` only when ids are made per product."""
    parts = [order_id, order_line_id] + ([product_id] if product_id else [])
    return str(uuid.uuid5(NAMESPACE, "|".join(parts)))


def creation_identity(order_id: str, order_line_id: str) -> str:
    """businessId is left out on purpose: it differs on every request, retries included."""
    return _joined(Activity.NEW, order_id, order_line_id)


def identity(event: LifecycleEvent) -> str:
    """What makes two callbacks the same one.

    A refresh or an upgrade is its order line (spec §2.8, §2.11), a release its instance (§2.10). A
    status change has no name of its own, and freeze, unfreeze, freeze are three events: its timestamp
    tells them apart.
    """
    parts: tuple[str, ...]
    match event.activity:
        case Activity.REFRESH:
            parts = (event.instance_id, event.scene, event.order_id, event.order_line_id)
        case Activity.STATUS:
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
