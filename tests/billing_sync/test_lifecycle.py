"""What can happen to an instance, and the ids computed from it."""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import UnknownTransition
from billing_sync.lifecycle import (
    NAMESPACE,
    Activity,
    Event,
    LifecycleEvent,
    acceptance_identity,
    creation_identity,
    identity,
    instance_id_of,
    status_prefix,
)

ACTIVITIES = {
    Event.FREEZE: Activity.STATUS,
    Event.UNFREEZE: Activity.STATUS,
    Event.EXPIRE: Activity.EXPIRE,
    Event.REFRESH: Activity.REFRESH,
    Event.RELEASE: Activity.RELEASE,
    Event.UPGRADE: Activity.UPGRADE,
}


def an(event: Event, sent_at: int = 100, **fields: Any) -> LifecycleEvent:
    return LifecycleEvent(ACTIVITIES[event], event, "i", sent_at, body="{}", **fields)


def test_instance_ids() -> None:
    """An id is computed from order and line, and from the product where ids are made per product."""
    assert instance_id_of("o", "l") == str(uuid.uuid5(NAMESPACE, "o|l"))
    assert instance_id_of("o", "l", "p") == str(uuid.uuid5(NAMESPACE, "o|l|p"))


def test_ids_never_change() -> None:
    """Ids handed out once must come out the same in every later version."""
    assert instance_id_of("CS1", "CS1-000001") == "797f2c8f-3e67-527e-b83c-3ca9a9e950af"


texts = st.text(max_size=6)


def creation(order_id: str, order_line_id: str, product_id: str = "") -> str:
    """The identity of a creation, of one of several of its line if it names a product."""
    new = LifecycleEvent(
        Activity.NEW,
        Event.KNOWN,
        "i",
        sent_at=1,
        body="{}",
        order_id=order_id,
        order_line_id=order_line_id,
        product_id=product_id,
        apart=bool(product_id),
    )
    return creation_identity(new)


@given(st.lists(st.tuples(texts, texts, texts), min_size=2, max_size=2, unique=True))
def test_two_lines_are_two(bought: list[tuple[str, str, str]]) -> None:
    """No separator inside an id makes two order lines one, nor two products of a line."""
    first, second = (creation(*each) for each in bought)
    assert first != second


def test_a_named_product_alone_makes_no_other_creation() -> None:
    """V1.0 names it in every call; only ids per product tell instances apart by it."""
    new = LifecycleEvent(Activity.NEW, Event.KNOWN, "i", 1, body="{}", order_id="o")
    assert creation_identity(new) == creation_identity(replace(new, product_id="p"))


def test_identities() -> None:
    """A release is known by its instance, a refresh by its order, a status by its time as well."""
    assert identity(an(Event.RELEASE, 1)) == identity(an(Event.RELEASE, 2, order_id="o"))
    refresh = an(Event.REFRESH, 1, order_id="o", order_line_id="l", scene="RENEWAL", expires=5)
    again = an(Event.REFRESH, 2, order_id="o", order_line_id="l", scene="RENEWAL", expires=9)
    other = an(Event.REFRESH, 2, order_id="o2", order_line_id="l", scene="RENEWAL", expires=5)
    assert identity(refresh) == identity(again) != identity(other)
    assert identity(an(Event.FREEZE, 1)) != identity(an(Event.FREEZE, 2))
    assert identity(an(Event.FREEZE, 1)) != identity(an(Event.UNFREEZE, 1))
    assert identity(an(Event.EXPIRE, 1)) != identity(an(Event.EXPIRE, 2))


@given(texts, st.sampled_from([Event.FREEZE, Event.UNFREEZE]), st.integers(0, 2**50))
def test_a_status_change_is_recognised_by_its_beginning(name: str, event: Event, at: int) -> None:
    """Which SQL does to find the newest of each, whatever the instance is called."""
    other = Event.UNFREEZE if event is Event.FREEZE else Event.FREEZE
    change = LifecycleEvent(Activity.STATUS, event, name, at, body="{}")
    assert identity(change).startswith(status_prefix(name, event))
    assert not identity(change).startswith(status_prefix(name, other))


def test_an_acceptance_is_no_creation() -> None:
    """Whatever an order is called, its creation does not pass for an acceptance."""
    assert acceptance_identity("i") != creation("i", "accept")


def test_a_creation_has_no_identity_of_an_event() -> None:
    """newInstance is known by its order line, not through `identity`."""
    new = LifecycleEvent(Activity.NEW, Event.KNOWN, "i", 1, body="{}")
    with pytest.raises(UnknownTransition, match="newInstance"):
        identity(new)
