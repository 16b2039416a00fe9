"""The transition table of an instance, one for both versions of the interface, and what it says. Pure.

An event counts by its own timestamp, so that any order of arrival ends alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from billing_sync.errors import UnknownTransition
from billing_sync.lifecycle import Event, LifecycleEvent
from metering.entitlement import InstanceStatus


class Service(StrEnum):
    """Whether an instance gives service, and what keeps it from doing so."""

    OPEN = "open"
    HELD = "held"  # frozen by a status call: expiry, arrears, a violation
    EXPIRED = "expired"  # V1.0 has a call of its own for that, and a renewal alone ends it
    HELD_AND_EXPIRED = "held and expired"
    RELEASED = "released"


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


Marks = Mapping[Event, int]  # the newest timestamp of each kind of event so far

_OPEN, _HELD, _EXPIRED = Service.OPEN, Service.HELD, Service.EXPIRED
_BOTH, _GONE = Service.HELD_AND_EXPIRED, Service.RELEASED
_UNFREEZE = {Event.UNFREEZE: _OPEN, Event.RELEASE: _GONE}


def _row(at: Service, **then: Service) -> dict[Event, Service]:
    return dict.fromkeys(Event, at) | _UNFREEZE | {Event[name]: to for name, to in then.items()}


# Both versions. What a row does not name leaves service as it is.
TRANSITIONS: Final[dict[Service, dict[Event, Service]]] = {
    _OPEN: _row(_OPEN, FREEZE=_HELD, EXPIRE=_EXPIRED),
    _HELD: _row(_HELD, EXPIRE=_BOTH),
    _EXPIRED: _row(_EXPIRED, FREEZE=_BOTH, REFRESH=_OPEN),
    _BOTH: _row(_BOTH, REFRESH=_HELD),
    _GONE: dict.fromkeys(Event, _GONE),
}

# An event that is older than one of these came too late to have a say.
_CONTENDERS: Final[dict[Event, tuple[Event, ...]]] = {
    Event.FREEZE: (Event.FREEZE, Event.UNFREEZE),
    Event.UNFREEZE: (Event.FREEZE, Event.UNFREEZE),
    Event.EXPIRE: (Event.EXPIRE, Event.REFRESH, Event.UNFREEZE),
    Event.REFRESH: (Event.REFRESH,),
    Event.UPGRADE: (Event.UPGRADE,),
}
_WANT_SERVICE: Final = frozenset({Event.UNFREEZE, Event.REFRESH, Event.UPGRADE})


def next_service(service: Service, event: Event) -> Service:
    """One lookup in the table. Raises UnknownTransition, naming state and event."""
    try:
        return TRANSITIONS[service][event]
    except KeyError:
        raise UnknownTransition(f"no transition for event {event} in state {service}") from None


def decide(state: State, event: LifecycleEvent, marks: Marks) -> Change:
    """What an event does. `marks` are those of the events before it, in whatever order they came.

    The state afterwards is that of the same events in the order of their own timestamps. A newer
    wish for service (unfreeze, refresh, upgrade) on a released instance is refused: saying success
    would promise the buyer what is gone. An older one merely came late.
    """
    kind = event.event
    if state.status is InstanceStatus.RELEASED:
        return Change(state, accepted=kind not in _WANT_SERVICE or event.sent_at <= state.released)
    if kind is Event.RELEASE:
        gone = replace(state, status=InstanceStatus.RELEASED, released=event.sent_at)
        return Change(gone, applied=True)
    newest = event.sent_at >= marks.get(kind, 0)
    expires = event.expires if kind is Event.REFRESH and newest else state.expires
    seen = {**marks, kind: max(event.sent_at, marks.get(kind, 0))}
    service = service_of(seen, expires, began=_began(state, marks))
    after = replace(state, status=status_of(service, known=state.known), expires=expires)
    in_time = all(event.sent_at >= marks.get(other, 0) for other in _CONTENDERS[kind])
    return Change(after, applied=in_time or after != state)


def _began(state: State, marks: Marks) -> Service:
    """Frozen although no callback says so: it came into the ledger like that."""
    told = marks.keys() & {Event.FREEZE, Event.UNFREEZE, Event.EXPIRE}
    return _HELD if state.status is InstanceStatus.FROZEN and not told else _OPEN


def service_of(marks: Marks, expires: int, *, began: Service = _OPEN) -> Service:
    """Where the newest events of each kind lead; `expires` is what the newest refresh said."""
    history = [(at, kind, expires if kind is Event.REFRESH else 0) for kind, at in marks.items()]
    walked = [service for _, service in services(history, began=began)]
    return walked[-1] if walked else began


def services(
    history: Iterable[tuple[int, Event, int]], *, began: Service = _OPEN
) -> Iterator[tuple[int, Service]]:
    """What service was from when on. `history` is (timestamp, event, expiry that a refresh set).

    A refresh to a time that is past (a renewal paid back) ends what was paid for; that counts only
    where the marketplace tells expiry by a call of its own.
    """
    rank = {event: number for number, event in enumerate(Event)}
    ordered = sorted(history, key=lambda each: (each[0], rank[each[1]]))
    is_told = any(event is Event.EXPIRE for _, event, _ in ordered)
    service = began
    for at, event, expires in ordered:
        is_past = event is Event.REFRESH and expires <= at
        if not is_past or is_told:
            service = next_service(service, Event.EXPIRE if is_past else event)
        yield at, service


def status_of(service: Service, *, known: bool) -> InstanceStatus:
    """What the gateways are told of it."""
    if service is _GONE:
        return InstanceStatus.RELEASED
    if service is not _OPEN:
        return InstanceStatus.FROZEN
    return InstanceStatus.ACTIVE if known else InstanceStatus.CREATING


def status_when_known(status: InstanceStatus) -> InstanceStatus:
    """The buyer was learnt: what was frozen before that stays frozen."""
    return InstanceStatus.ACTIVE if status is InstanceStatus.CREATING else status
