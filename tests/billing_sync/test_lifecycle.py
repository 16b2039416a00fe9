"""The life of an instance, judged without SQL."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import UnknownTransition
from billing_sync.lifecycle import (
    NAMESPACE,
    TRANSITIONS,
    Activity,
    Event,
    LifecycleEvent,
    State,
    creation_identity,
    decide,
    identity,
    instance_id_of,
    next_status,
)
from metering.entitlement import InstanceStatus

CREATING, ACTIVE = InstanceStatus.CREATING, InstanceStatus.ACTIVE
FROZEN, RELEASED = InstanceStatus.FROZEN, InstanceStatus.RELEASED

ACTIVITIES = {
    Event.FREEZE: Activity.STATUS,
    Event.UNFREEZE: Activity.STATUS,
    Event.REFRESH: Activity.REFRESH,
    Event.RELEASE: Activity.RELEASE,
}


def an(event: Event, sent_at: int = 100, **fields: Any) -> LifecycleEvent:
    return LifecycleEvent(ACTIVITIES[event], event, "i", sent_at, body="{}", **fields)


def test_the_table_is_complete() -> None:
    """Every event has a row in every state."""
    assert set(TRANSITIONS) == set(InstanceStatus)
    assert all(set(row) == set(Event) for row in TRANSITIONS.values())


@pytest.mark.parametrize(
    ("status", "event", "then"),
    [
        (CREATING, Event.KNOWN, ACTIVE),
        (CREATING, Event.FREEZE, FROZEN),
        (ACTIVE, Event.FREEZE, FROZEN),
        (FROZEN, Event.FREEZE, FROZEN),
        (FROZEN, Event.KNOWN, FROZEN),
        (FROZEN, Event.UNFREEZE, ACTIVE),
        (ACTIVE, Event.UNFREEZE, ACTIVE),
        (FROZEN, Event.REFRESH, FROZEN),
        (FROZEN, Event.RELEASE, RELEASED),
        (RELEASED, Event.UNFREEZE, RELEASED),
        (RELEASED, Event.KNOWN, RELEASED),
    ],
)
def test_transitions(status: InstanceStatus, event: Event, then: InstanceStatus) -> None:
    """Repeats change nothing, freezing outlives becoming known, release is the end."""
    assert next_status(status, event) is then


def test_a_missing_row_names_event_and_state() -> None:
    """What the table does not hold is an error that says what was asked."""
    with pytest.raises(UnknownTransition, match="event boil in state active"):
        next_status(ACTIVE, "boil")  # type: ignore[arg-type]


def test_unfreezing_a_stranger() -> None:
    """An instance whose buyer is unknown does not become active by being unfrozen."""
    change = decide(State(FROZEN, known=False), an(Event.UNFREEZE), 0)
    assert change.state.status is CREATING


def test_an_older_event_changes_nothing() -> None:
    """What was sent before the newest of its kind came late: accepted, without effect."""
    frozen = State(FROZEN, known=True, expires=7)
    late = decide(frozen, an(Event.UNFREEZE, sent_at=99), last_sent_at=100)
    assert (late.state, late.accepted, late.applied) == (frozen, True, False)
    assert decide(frozen, an(Event.UNFREEZE, sent_at=100), 100).state.status is ACTIVE


def test_a_refresh_sets_the_expiry() -> None:
    """The new expiry replaces the old one, also by an earlier date."""
    change = decide(State(ACTIVE, known=True, expires=500), an(Event.REFRESH, expires=300), 0)
    assert change.state == State(ACTIVE, known=True, expires=300)


def test_the_first_release_counts() -> None:
    """Release remembers its own timestamp, and a second one does not move it."""
    released = decide(State(ACTIVE, known=True), an(Event.RELEASE, 100), 0).state
    assert (released.status, released.released) == (RELEASED, 100)
    assert decide(released, an(Event.RELEASE, 200), 100).state == released


def test_a_release_is_never_too_old() -> None:
    """A release that was overtaken by a status change still ends the instance."""
    assert decide(State(ACTIVE, known=True), an(Event.RELEASE, 50), 100).state.status is RELEASED


@pytest.mark.parametrize(
    ("event", "sent_at", "accepted"),
    [
        (Event.REFRESH, 101, False),
        (Event.UNFREEZE, 101, False),
        (Event.REFRESH, 99, True),
        (Event.UNFREEZE, 100, True),
        (Event.FREEZE, 101, True),
        (Event.RELEASE, 101, True),
    ],
)
def test_after_release(event: Event, sent_at: int, accepted: bool) -> None:
    """A newer wish for service is refused, everything else is already so."""
    released = State(RELEASED, known=True, released=100)
    change = decide(released, an(event, sent_at), 0)
    assert (change.state, change.accepted, change.applied) == (released, accepted, False)


@given(st.permutations([(Event.FREEZE, 1), (Event.UNFREEZE, 2), (Event.FREEZE, 3)]))
def test_any_order_ends_alike(order: list[tuple[Event, int]]) -> None:
    """Status changes end in the state of the newest, in whatever order they arrive."""
    state, newest = State(ACTIVE, known=True), 0
    for event, sent_at in order:
        state = decide(state, an(event, sent_at), newest).state
        newest = max(newest, sent_at)
    assert state.status is FROZEN


def test_instance_ids() -> None:
    """An id is computed from order and line, and from the product where ids are made per product."""
    assert instance_id_of("o", "l") == str(uuid.uuid5(NAMESPACE, "o|l"))
    assert instance_id_of("o", "l", "p") == str(uuid.uuid5(NAMESPACE, "o|l|p"))


def test_ids_never_change() -> None:
    """Ids handed out once must come out the same in every later version."""
    assert instance_id_of("CS1", "CS1-000001") == "797f2c8f-3e67-527e-b83c-3ca9a9e950af"


texts = st.text(max_size=6)


@given(st.lists(st.tuples(texts, texts), min_size=2, max_size=2, unique=True))
def test_two_lines_are_two(pairs: list[tuple[str, str]]) -> None:
    """No separator inside an id makes two order lines one."""
    first, second = (creation_identity(*pair) for pair in pairs)
    assert first != second


def test_identities() -> None:
    """A release is known by its instance, a refresh by its order, a status by its time as well."""
    assert identity(an(Event.RELEASE, 1)) == identity(an(Event.RELEASE, 2, order_id="o"))
    refresh = an(Event.REFRESH, 1, order_id="o", order_line_id="l", scene="RENEWAL", expires=5)
    again = an(Event.REFRESH, 2, order_id="o", order_line_id="l", scene="RENEWAL", expires=9)
    other = an(Event.REFRESH, 2, order_id="o2", order_line_id="l", scene="RENEWAL", expires=5)
    assert identity(refresh) == identity(again) != identity(other)
    assert identity(an(Event.FREEZE, 1)) != identity(an(Event.FREEZE, 2))
    assert identity(an(Event.FREEZE, 1)) != identity(an(Event.UNFREEZE, 1))


def test_a_creation_has_no_identity_of_an_event() -> None:
    """newInstance is known by its order line, not through `identity`."""
    new = LifecycleEvent(Activity.NEW, Event.KNOWN, "i", 1, body="{}")
    with pytest.raises(UnknownTransition, match="newInstance"):
        identity(new)
