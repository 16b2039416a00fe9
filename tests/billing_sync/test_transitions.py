"""The transition table, judged without SQL."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import UnknownTransition
from billing_sync.lifecycle import Event, LifecycleEvent
from billing_sync.transitions import (
    TRANSITIONS,
    Change,
    Service,
    State,
    decide,
    next_service,
    service_of,
    services,
    status_of,
    status_when_known,
)
from metering.entitlement import InstanceStatus
from tests.billing_sync.test_lifecycle import an

CREATING, ACTIVE = InstanceStatus.CREATING, InstanceStatus.ACTIVE
FROZEN, RELEASED = InstanceStatus.FROZEN, InstanceStatus.RELEASED
OPEN, HELD, EXPIRED = Service.OPEN, Service.HELD, Service.EXPIRED
BOTH, GONE = Service.HELD_AND_EXPIRED, Service.RELEASED

BOUGHT = State(ACTIVE, known=True)


class Inbox:
    """An instance and the events it has had, as SQL keeps them."""

    def __init__(self, state: State = BOUGHT) -> None:
        self.state = state
        self.marks: dict[Event, int] = {}

    def gets(self, event: LifecycleEvent) -> Change:
        change = decide(self.state, event, self.marks)
        self.state = change.state
        self.marks[event.event] = max(event.sent_at, self.marks.get(event.event, 0))
        return change


def test_the_table_is_complete() -> None:
    """Every event has a row in every state."""
    assert set(TRANSITIONS) == set(Service)
    assert all(set(row) == set(Event) for row in TRANSITIONS.values())


@pytest.mark.parametrize(
    ("service", "event", "then"),
    [
        (OPEN, Event.FREEZE, HELD),
        (OPEN, Event.UNFREEZE, OPEN),
        (OPEN, Event.EXPIRE, EXPIRED),
        (HELD, Event.FREEZE, HELD),
        (HELD, Event.REFRESH, HELD),
        (HELD, Event.EXPIRE, BOTH),
        (HELD, Event.UNFREEZE, OPEN),
        (EXPIRED, Event.REFRESH, OPEN),
        (EXPIRED, Event.EXPIRE, EXPIRED),
        (EXPIRED, Event.FREEZE, BOTH),
        (EXPIRED, Event.UNFREEZE, OPEN),
        (BOTH, Event.REFRESH, HELD),
        (BOTH, Event.UNFREEZE, OPEN),
        (GONE, Event.UNFREEZE, GONE),
        (GONE, Event.REFRESH, GONE),
    ],
)
def test_transitions(service: Service, event: Event, then: Service) -> None:
    """A renewal ends an expiry and no other freeze; repeats change nothing; release is the end."""
    assert next_service(service, event) is then


def test_what_leads_where() -> None:
    """Only these change service at all, and a release always does."""
    moves = {
        (at, event) for at, event in product(Service, Event) if next_service(at, event) is not at
    }
    assert {event for _, event in moves} == {
        Event.EXPIRE,
        Event.FREEZE,
        Event.REFRESH,
        Event.RELEASE,
        Event.UNFREEZE,
    }
    assert all(next_service(at, Event.RELEASE) is GONE for at in Service)


def test_a_missing_row_names_event_and_state() -> None:
    """What the table does not hold is an error that says what was asked."""
    with pytest.raises(UnknownTransition, match="event boil in state open"):
        next_service(OPEN, "boil")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service", "known", "status"),
    [
        (OPEN, True, ACTIVE),
        (OPEN, False, CREATING),
        (HELD, False, FROZEN),
        (EXPIRED, True, FROZEN),
        (BOTH, True, FROZEN),
        (GONE, False, RELEASED),
    ],
)
def test_what_the_gateways_are_told(service: Service, known: bool, status: InstanceStatus) -> None:
    """Open without a buyer is still being created."""
    assert status_of(service, known=known) is status


def test_becoming_known() -> None:
    """Only what was being created becomes active."""
    assert [status_when_known(each) for each in (CREATING, FROZEN, RELEASED)] == [
        ACTIVE,
        FROZEN,
        RELEASED,
    ]


def test_an_older_event_changes_nothing() -> None:
    """What was sent before the newest of its kind came late: accepted, without effect."""
    inbox = Inbox()
    inbox.gets(an(Event.FREEZE, 100))
    late = inbox.gets(an(Event.UNFREEZE, 99))
    assert (late.state.status, late.accepted, late.applied) == (FROZEN, True, False)
    assert inbox.gets(an(Event.UNFREEZE, 101)).state.status is ACTIVE


def test_a_freeze_and_an_unfreeze_of_one_millisecond() -> None:
    """The buyer gets service, in whatever order they come."""
    for pair in ((Event.FREEZE, Event.UNFREEZE), (Event.UNFREEZE, Event.FREEZE)):
        inbox = Inbox()
        for event in pair:
            inbox.gets(an(event, 100))
        assert inbox.state.status is ACTIVE


def test_a_refresh_sets_the_expiry() -> None:
    """The new expiry replaces the old one, also by an earlier date; an older refresh does not."""
    inbox = Inbox(State(ACTIVE, known=True, expires=500))
    assert inbox.gets(an(Event.REFRESH, 10, expires=300)).state.expires == 300
    assert not inbox.gets(an(Event.REFRESH, 9, expires=900)).applied
    assert inbox.state.expires == 300


def test_a_renewal_that_overtook_the_expiry() -> None:
    """An expiry that comes after the renewal that ended it freezes nobody."""
    inbox = Inbox()
    inbox.gets(an(Event.REFRESH, 20, expires=900))
    assert not inbox.gets(an(Event.EXPIRE, 10)).applied
    assert inbox.state.status is ACTIVE


def test_a_renewal_does_not_lift_a_freeze() -> None:
    """Arrears and violations are lifted by their own call."""
    inbox = Inbox()
    for event in (an(Event.FREEZE, 1), an(Event.EXPIRE, 2), an(Event.REFRESH, 3, expires=900)):
        inbox.gets(event)
    assert inbox.state.status is FROZEN
    assert inbox.gets(an(Event.UNFREEZE, 4)).state.status is ACTIVE


def test_a_renewal_that_is_paid_back() -> None:
    """Back to a time that is past, it gives no service where expiry is told by a call of its own."""
    told, untold = Inbox(), Inbox()
    told.gets(an(Event.EXPIRE, 10))
    told.gets(an(Event.REFRESH, 20, expires=900))
    assert told.state.status is ACTIVE
    for inbox in (told, untold):
        inbox.gets(an(Event.REFRESH, 30, expires=25))
    assert (told.state.status, untold.state.status) == (FROZEN, ACTIVE)


def test_frozen_for_an_unknown_reason() -> None:
    """What came into the ledger frozen stays so until it is unfrozen."""
    inbox = Inbox(State(FROZEN, known=True))
    inbox.gets(an(Event.REFRESH, 10, expires=900))
    assert inbox.state.status is FROZEN
    inbox.gets(an(Event.UNFREEZE, 20))
    assert inbox.state.status is ACTIVE


def test_unfreezing_a_stranger() -> None:
    """An instance whose buyer is unknown does not become active by being unfrozen."""
    inbox = Inbox(State(CREATING, known=False))
    assert inbox.gets(an(Event.FREEZE, 1)).state.status is FROZEN
    assert inbox.gets(an(Event.UNFREEZE, 2)).state.status is CREATING


def test_the_first_release_counts() -> None:
    """Release remembers its own timestamp, is never too old, and a second one does not move it."""
    inbox = Inbox()
    inbox.gets(an(Event.FREEZE, 500))
    released = inbox.gets(an(Event.RELEASE, 100)).state
    assert (released.status, released.released) == (RELEASED, 100)
    assert inbox.gets(an(Event.RELEASE, 200)).state == released


@pytest.mark.parametrize(
    ("event", "sent_at", "accepted"),
    [
        (Event.REFRESH, 101, False),
        (Event.UNFREEZE, 101, False),
        (Event.UPGRADE, 101, False),
        (Event.REFRESH, 100, True),
        (Event.FREEZE, 101, True),
        (Event.EXPIRE, 101, True),
        (Event.RELEASE, 101, True),
    ],
)
def test_after_release(event: Event, sent_at: int, accepted: bool) -> None:
    """A newer wish for service is refused, everything else is already so."""
    released = State(RELEASED, known=True, released=100)
    change = decide(released, an(event, sent_at), {})
    assert (change.state, change.accepted, change.applied) == (released, accepted, False)


KINDS = st.sampled_from([Event.FREEZE, Event.UNFREEZE, Event.EXPIRE, Event.REFRESH])
HISTORIES = st.lists(st.tuples(KINDS, st.integers(1, 60)), max_size=8).map(
    lambda kinds: [an(kind, 10 * at, expires=e) for at, (kind, e) in enumerate(kinds, 1)]
)


@given(HISTORIES, st.data())
def test_any_order_ends_alike(events: list[LifecycleEvent], data: st.DataObject) -> None:
    """However often and in whatever order events arrive, the state is that of their own order."""
    in_order, shuffled = Inbox(), Inbox()
    for event in events:
        in_order.gets(event)
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    for event in data.draw(st.permutations([*events, *repeats])):
        shuffled.gets(event)
    assert shuffled.state == in_order.state


@given(HISTORIES)
def test_the_newest_of_each_kind_say_all(events: list[LifecycleEvent]) -> None:
    """The table walked over the whole history ends where the newest events alone lead."""
    history = [(event.sent_at, event.event, event.expires) for event in events]
    walked = [service for _, service in services(history)]
    inbox = Inbox()
    for event in events:
        inbox.gets(event)
    assert service_of(inbox.marks, inbox.state.expires) is (walked[-1] if walked else OPEN)
