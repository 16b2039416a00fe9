"""The queue to the gateways, and the snapshots that go through it."""

import pytest
from sqlalchemy import Engine

from billing_sync.key_models import ApiKey
from billing_sync.models import CustomerRow, Instance
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import (
    Pending,
    enqueue,
    pending_projections,
    projection_done,
    snapshots,
)
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus


def pending(engine: Engine, limit: int = 10) -> list[Pending]:
    with reading(engine) as session:
        return pending_projections(session, limit)


def test_the_longest_waiting_first(engine: Engine) -> None:
    """Customers come in the order of their changes, so many at a time."""
    with writing(engine) as session:
        enqueue(session, "b", 20)
        enqueue(session, "a", 30)
        enqueue(session, "c", 10)
    assert pending(engine) == [("c", 10), ("b", 20), ("a", 30)]
    assert pending(engine, limit=1) == [("c", 10)]


@pytest.mark.parametrize("at", [5, 10, 11])
def test_a_change_meanwhile_is_not_lost(engine: Engine, at: int) -> None:
    """A customer that changed while being projected stays, even within one millisecond or when
    the clock stepped back."""
    with writing(engine) as session:
        enqueue(session, "a", 10)
    ((customer, since),) = pending(engine)
    with writing(engine) as session:
        enqueue(session, "a", at)
    with writing(engine) as session:
        projection_done(session, customer, since)
    ((_, later),) = pending(engine)
    assert later > since
    with writing(engine) as session:
        projection_done(session, "a", later)
    assert pending(engine) == []


def test_snapshots(engine: Engine) -> None:
    """A snapshot holds the usable keys and all instances with their status; strangers are absent."""
    with writing(engine) as session:
        session.add(CustomerRow(id="a", name="A"))
        session.add(CustomerRow(id="b", name="B"))
        session.add(ApiKey(customer_id="a", digest="d1", created=1))
        session.add(ApiKey(customer_id="a", digest="d2", created=1, revoked=2))
        session.add(Instance(id="i1", customer_id="a", product_id="P", status="active", started=1))
        session.add(
            Instance(id="i2", customer_id="a", product_id="Q", status="released", started=0)
        )
        session.add(Instance(id="i3", customer_id="", status="creating", started=1))
    with reading(engine) as session:
        found = {s.customer_id: s for s in snapshots(session, ["a", "b", "nobody", ""])}
    assert found == {
        "a": EntitlementSnapshot(
            "a",
            "A",
            (EntitledKey("1", "d1"),),
            (
                EntitledInstance("i2", "Q", InstanceStatus.RELEASED),
                EntitledInstance("i1", "P", InstanceStatus.ACTIVE),
            ),
        ),
        "b": EntitlementSnapshot("b", "B"),
    }
