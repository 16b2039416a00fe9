"""Instances and the inbox in a real SQLite file."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func
from sqlmodel import Session, SQLModel, select

from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.market_models import AwaitedChange
from billing_sync.models import (
    CustomerRow,
    Instance,
    LifecycleInbox,
    OrderLine,
    ProjectionOutbox,
    UsageRecord,
)
from billing_sync.store import awaited, instances, lifecycle, product_changes, projections
from billing_sync.store.engine import reading, writing
from billing_sync.store.lifecycle import Purchase, Successor
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import Product, catalogue

AT = 1_790_000_000_000


def new(order_id: str = "o", sent_at: int = AT) -> LifecycleEvent:
    return LifecycleEvent(
        Activity.NEW,
        Event.KNOWN,
        f"i-{order_id}",
        sent_at,
        body="{}",
        order_id=order_id,
        order_line_id=f"{order_id}-1",
    )


def purchase(order_id: str = "o", buyer: str = "c", *, digest: str = "d") -> Purchase:
    order = Order(
        order_id, f"{order_id}-1", ("P",), "ON_DEMAND", buyer, f"Name of {buyer}", 777, "{}"
    )
    return Purchase(order, "P", is_package=False, key=MadeKey(digest, "sealed"))


def status(event: Event, sent_at: int, instance_id: str = "i-o") -> LifecycleEvent:
    return LifecycleEvent(Activity.STATUS, event, instance_id, sent_at, body="{}")


def refresh(sent_at: int, expires: int, order_id: str = "r") -> LifecycleEvent:
    return LifecycleEvent(
        Activity.REFRESH,
        Event.REFRESH,
        "i-o",
        sent_at,
        body="{}",
        order_id=order_id,
        order_line_id=f"{order_id}-1",
        scene="RENEWAL",
        expires=expires,
    )


def release(sent_at: int) -> LifecycleEvent:
    return LifecycleEvent(Activity.RELEASE, Event.RELEASE, "i-o", sent_at, body="{}")


def count(engine: Engine, table: type[SQLModel]) -> int:
    with reading(engine) as session:
        return session.exec(select(func.count()).select_from(table)).one()


def instance(engine: Engine, instance_id: str = "i-o") -> Instance:
    with reading(engine) as session:
        return session.exec(select(Instance).where(Instance.id == instance_id)).one()


def make(engine: Engine, order_id: str = "o", bought: Purchase | None = None, at: int = AT) -> str:
    with writing(engine) as session:
        return lifecycle.create(session, new(order_id), bought, at).code


def send(engine: Engine, event: LifecycleEvent, at: int = AT, **more: Any) -> str | None:
    with writing(engine) as session:
        answer = lifecycle.apply(session, event, at, **more)
        return None if answer is None else answer.code


def test_one_commit_holds_everything(engine: Engine) -> None:
    """A creation leaves instance, order line, customer, key, inbox row and the notice."""
    assert make(engine, bought=purchase()) == "000000"
    made = instance(engine)
    assert (made.status, made.customer_id, made.product_id) == ("active", "c", "P")
    assert (made.started, made.expires) == (AT, 777)
    for table in (OrderLine, CustomerRow, ApiKey, LifecycleInbox, ProjectionOutbox):
        assert count(engine, table) == 1, table


def test_a_repeat_makes_no_second(engine: Engine) -> None:
    """The same order line again gets the same answer and leaves nothing new."""
    assert make(engine, bought=purchase()) == make(engine, bought=purchase(digest="e")) == "000000"
    for table in (Instance, OrderLine, ApiKey, LifecycleInbox):
        assert count(engine, table) == 1, table


def test_one_whose_records_came_back_before_it(engine: Engine) -> None:
    """After a recovery: its new records begin where those end."""
    columns: dict[str, Any] = {"customer_id": "c", "product_id": "P", "meter": "m", "value": "1"}
    with writing(engine) as session:
        for number in (1, 2):
            record = UsageRecord(metering_sn=f"r{number}", instance_id="i-o", window=1, **columns)
            record.begin, record.end = AT + number * 1000, AT + number * 1000 + 1000
            record.recorded_at, record.quantity = AT, 1
            session.add(record)
    make(engine, bought=purchase())
    assert instance(engine).recorded_until == AT + 3000


def test_without_an_order_it_waits(engine: Engine) -> None:
    """An instance without a buyer is `creating`, projected to nobody, and settled later."""
    assert make(engine) == "000004"
    assert instance(engine).status == "creating"
    assert count(engine, ProjectionOutbox) == count(engine, ApiKey) == 0
    with writing(engine) as session:
        assert lifecycle.settle(session, "i-o", purchase(), AT + 5)
        assert not lifecycle.settle(session, "i-o", purchase(buyer="other"), AT + 6)
    settled = instance(engine)
    assert (settled.status, settled.customer_id, settled.started) == ("active", "c", AT + 5)
    with reading(engine) as session:
        assert '"000000"' in session.exec(select(LifecycleInbox.answer)).one()
        assert instances.unsettled(session, 10) == []


def test_a_repeat_with_an_order_settles(engine: Engine) -> None:
    """A second creation that finds the order ends the waiting."""
    assert make(engine) == "000004"
    assert make(engine, bought=purchase()) == "000000"
    assert make(engine) == "000000"


def test_settling_a_stranger(engine: Engine) -> None:
    """There is nothing to settle for an id nobody created."""
    with writing(engine) as session:
        assert not lifecycle.settle(session, "nobody", purchase(), AT)


def test_an_imported_instance_is_settled_without_an_inbox_row(engine: Engine) -> None:
    """An instance that did not come by a callback is settled all the same."""
    with writing(engine) as session:
        session.add(Instance(id="x", order_id="z", order_line_id="z-1", started=AT))
    with writing(engine) as session:
        assert lifecycle.settle(session, "x", purchase("z"), AT)
    assert instance(engine, "x").status == "active"


def test_frozen_before_known_stays_frozen(engine: Engine) -> None:
    """A freeze that comes before the buyer outlives his arrival."""
    make(engine)
    assert send(engine, status(Event.FREEZE, AT + 1)) == "000000"
    with writing(engine) as session:
        lifecycle.settle(session, "i-o", purchase(), AT + 2)
    assert instance(engine).status == "frozen"


def test_one_key_per_customer(engine: Engine) -> None:
    """The second instance of a buyer shares the key of the first."""
    make(engine, "o", purchase("o"))
    make(engine, "p", purchase("p", digest="e"))
    assert (count(engine, Instance), count(engine, ApiKey), count(engine, CustomerRow)) == (2, 1, 1)


def test_an_unknown_instance(engine: Engine) -> None:
    """Nothing is written for an instance that does not exist."""
    assert send(engine, status(Event.FREEZE, AT)) is None
    assert count(engine, LifecycleInbox) == 0


def test_a_static_instance_is_out_of_reach(engine: Engine) -> None:
    """The marketplace can neither see nor freeze an instance of the configuration."""
    with writing(engine) as session:
        session.add(Instance(id="i-o", source="static", status="active", started=AT))
    assert send(engine, status(Event.FREEZE, AT)) is None
    with reading(engine) as session:
        assert instances.by_ids(session, ["i-o"]) == {}
    assert instance(engine).status == "active"


def test_freeze_and_unfreeze(engine: Engine) -> None:
    """Each status change is one inbox row and one notice; a repeat with a new time succeeds."""
    make(engine, bought=purchase())
    for number, event in enumerate([Event.FREEZE, Event.FREEZE, Event.UNFREEZE, Event.UNFREEZE]):
        assert send(engine, status(event, AT + number)) == "000000"
        assert instance(engine).status == ("frozen" if number < 2 else "active")
    assert count(engine, LifecycleInbox) == 5


@pytest.mark.parametrize(
    "event",
    [status(Event.FREEZE, AT + 1), refresh(AT + 1, 5000), release(AT + 1)],
    ids=["freeze", "refresh", "release"],
)
def test_each_change_is_projected(engine: Engine, event: LifecycleEvent) -> None:
    """What changes an instance is told to the gateways; what came too late is not."""
    make(engine, bought=purchase())
    for told, sent in ((1, event), (0, replace(event, sent_at=AT - 1, order_id="late"))):
        with writing(engine) as session:
            session.execute(delete(ProjectionOutbox))
        send(engine, sent)
        assert count(engine, ProjectionOutbox) == told


def test_the_same_callback_twice(engine: Engine) -> None:
    """A status change with the same timestamp is the same one: stored answer, one row."""
    make(engine, bought=purchase())
    assert send(engine, status(Event.FREEZE, AT + 1)) == "000000"
    assert send(engine, status(Event.UNFREEZE, AT + 2)) == "000000"
    assert send(engine, status(Event.FREEZE, AT + 1)) == "000000"
    assert instance(engine).status == "active"
    assert count(engine, LifecycleInbox) == 3


def test_an_older_status_is_kept_and_changes_nothing(engine: Engine) -> None:
    """An unfreeze overtaken by a freeze is in the inbox, and the instance stays frozen."""
    make(engine, bought=purchase())
    send(engine, status(Event.FREEZE, AT + 10))
    assert send(engine, status(Event.UNFREEZE, AT + 5)) == "000000"
    assert instance(engine).status == "frozen"
    assert count(engine, LifecycleInbox) == 3


def test_refresh(engine: Engine) -> None:
    """A renewal sets the expiry once per order; an overtaken one does not."""
    make(engine, bought=purchase())
    assert send(engine, refresh(AT + 10, 5000, "r2")) == "000000"
    assert send(engine, refresh(AT + 11, 9999, "r2")) == "000000"
    assert send(engine, refresh(AT + 5, 4000, "r1")) == "000000"
    assert instance(engine).expires == 5000
    assert send(engine, refresh(AT + 20, 3000, "refund")) == "000000"
    assert instance(engine).expires == 3000


def test_a_refresh_before_the_order_is_known_wins(engine: Engine) -> None:
    """What the order says of the expiry does not undo a renewal."""
    make(engine)
    send(engine, refresh(AT + 1, 5000))
    with writing(engine) as session:
        lifecycle.settle(session, "i-o", purchase(), AT + 2)
    assert instance(engine).expires == 5000


ALIKE = catalogue([Product(product_id=each, meter="m") for each in ("P", "P-YEAR", "Q-YEAR")])


def test_a_renewal_may_change_the_product(engine: Engine) -> None:
    """A product that is billed alike takes over at once, and nothing is cut."""
    make(engine, bought=purchase())
    send(engine, refresh(AT + 1, 5000), successor=Successor("P-YEAR", catalogue=ALIKE))
    assert instance(engine).product_id == "P-YEAR"
    assert count(engine, Upgrade) == 0


def test_a_renewal_to_another_kind_of_product(engine: Engine) -> None:
    """What is billed differently goes the way of an upgrade: the old product is cut."""
    make(engine, bought=purchase())
    send(engine, refresh(AT + 1, 5000), successor=Successor("Q", catalogue=ALIKE))
    assert (instance(engine).product_id, instance(engine).expires) == ("Q", 5000)
    with reading(engine) as session:
        (cut,) = session.exec(select(Upgrade)).all()
    assert (cut.old_product_id, cut.new_product_id, cut.settled) == ("P", "Q", 0)


def test_a_renewal_that_came_late_brings_its_product(engine: Engine) -> None:
    """A plain renewal that overtook it keeps its expiry, and does not hide the product."""
    make(engine, bought=purchase())
    send(engine, refresh(AT + 20, 9000, "r2"))
    send(engine, refresh(AT + 10, 5000, "r1"), successor=Successor("Q"))
    assert (instance(engine).product_id, instance(engine).expires) == ("Q", 9000)


def test_an_upgrade_that_a_renewal_overtook(engine: Engine) -> None:
    """The newer renewal's product stays."""
    make(engine, bought=purchase())
    send(engine, refresh(AT + 20, 9000), successor=Successor("R"))
    with writing(engine) as session:
        order = Order("u", "", ("Q",))
        product_changes.upgrade(session, upgrade(AT + 10), order, "Q", AT + 30)
    assert instance(engine).product_id == "R"


@pytest.mark.parametrize("successor", [Successor(""), Successor("Q", is_incomplete=True)])
def test_what_a_renewal_lacks_is_awaited(engine: Engine, successor: Successor) -> None:
    """The expiry counts at once; a row says what is still to be learnt, until the release."""
    make(engine, bought=purchase())
    send(engine, refresh(AT + 1, 5000), successor=successor)
    assert instance(engine).expires == 5000
    assert instance(engine).product_id == (successor.product_id or "P")
    assert count(engine, AwaitedChange) == 1
    send(engine, release(AT + 2))
    assert count(engine, AwaitedChange) == 0


def test_a_renewal_before_the_buyer_is_known(engine: Engine) -> None:
    """Its product waits for him, and is not undone by what the first order says."""
    make(engine)
    send(engine, refresh(AT + 1, 5000), successor=Successor("Q"))
    with writing(engine) as session:
        (row,) = awaited.changes(session, 10)
        assert not awaited.finish(session, row, "Q", None, ALIKE, AT + 2)
        lifecycle.settle(session, "i-o", purchase(), AT + 3)
        assert awaited.finish(session, row, "Q", None, ALIKE, AT + 4)
        assert awaited.finish(session, row, "Q", None, ALIKE, AT + 4)
    assert instance(engine).product_id == "Q"
    assert count(engine, AwaitedChange) == 0


def formal(sent_at: int) -> LifecycleEvent:
    return replace(refresh(sent_at, AT + 10**9, "formal"), scene="TRIAL_TO_FORMAL", formal=True)


def trial() -> Purchase:
    bought = purchase()
    return replace(bought, order=replace(bought.order, trial=True))


def told_trial(engine: Engine) -> bool:
    with reading(engine) as session:
        (snapshot,) = projections.snapshots(session, ["c"])
        return snapshot.instances[0].trial


def test_a_trial_becomes_formal(engine: Engine) -> None:
    """The gateways are told of a trial, and that it is none any more, also by a late call."""
    make(engine, bought=trial())
    assert told_trial(engine)
    send(engine, refresh(AT + 20, 9000))
    assert told_trial(engine)
    with writing(engine) as session:
        session.execute(delete(ProjectionOutbox))
    send(engine, formal(AT + 10))
    assert not told_trial(engine)
    assert count(engine, ProjectionOutbox) == 1
    assert instance(engine).expires == 9000


def test_a_trial_that_was_formal_before_its_order_was_known(engine: Engine) -> None:
    """What the trial's order says does not undo the conversion."""
    make(engine)
    send(engine, formal(AT + 1))
    with writing(engine) as session:
        lifecycle.settle(session, "i-o", trial(), AT + 2)
    assert not told_trial(engine)


def test_release(engine: Engine) -> None:
    """The first release stands with its own timestamp; a repeat gets the stored success."""
    make(engine, bought=purchase())
    assert send(engine, release(AT + 50)) == "000000"
    assert send(engine, release(AT + 90)) == "000000"
    released = instance(engine)
    assert (released.status, released.released) == ("released", AT + 50)
    assert count(engine, LifecycleInbox) == 2


def test_after_release(engine: Engine) -> None:
    """A later renewal of a released instance is refused for good, and kept in the inbox."""
    make(engine, bought=purchase())
    send(engine, release(AT + 50))
    assert send(engine, refresh(AT + 60, 9000)) == "000003"
    assert send(engine, refresh(AT + 70, 9000)) == "000003"
    assert send(engine, status(Event.FREEZE, AT + 60)) == "000000"
    assert (instance(engine).status, instance(engine).expires) == ("released", 777)
    assert count(engine, LifecycleInbox) == 4


def test_a_released_stranger_needs_no_settling(engine: Engine) -> None:
    """An instance that was released before its buyer was known is no longer asked about."""
    make(engine)
    send(engine, release(AT + 1))
    with reading(engine) as session:
        assert instances.unsettled(session, 10) == []
    assert instances.is_settled(instance(engine))


def test_what_others_made_of_it_meanwhile(engine: Engine) -> None:
    """Who read an instance before another settled it and a freeze came undoes neither."""
    if engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    make(engine)
    with writing(engine) as slow:
        assert instances.of_order_line(slow, "o", "o-1") is not None
        assert make(engine, bought=purchase()) == "000000"
        send(engine, status(Event.FREEZE, AT + 1))
        assert not lifecycle.settle(slow, "i-o", purchase(buyer="other"), AT + 2)
    assert (instance(engine).status, instance(engine).customer_id) == ("frozen", "c")


def expire(sent_at: int) -> LifecycleEvent:
    return LifecycleEvent(Activity.EXPIRE, Event.EXPIRE, "i-o", sent_at, body="{}")


def test_expiry_and_renewal(engine: Engine) -> None:
    """V1.0's expiry freezes until a renewal; an expiry that the renewal overtook does not."""
    make(engine, bought=purchase())
    for event, then in (
        (expire(AT + 1), "frozen"),
        (refresh(AT + 3, AT + 9999), "active"),
        (expire(AT + 2), "active"),
        (expire(AT + 4), "frozen"),
        (status(Event.UNFREEZE, AT + 5), "active"),
    ):
        assert send(engine, event) == "000000"
        assert instance(engine).status == then
    assert count(engine, LifecycleInbox) == 6


def test_events_of_another_instance(engine: Engine) -> None:
    """What was said of one instance has no bearing on another, however alike their names."""
    make(engine, bought=purchase())
    make(engine, 'o","freeze', purchase('o","freeze', digest="e"))
    send(engine, status(Event.UNFREEZE, AT + 9, 'i-o","freeze'))
    send(engine, status(Event.FREEZE, AT + 1))
    assert instance(engine).status == "frozen"


def upgrade(sent_at: int, order_id: str = "u") -> LifecycleEvent:
    return LifecycleEvent(
        Activity.UPGRADE, Event.UPGRADE, "i-o", sent_at, body="{}", order_id=order_id
    )


def test_a_renewal_that_an_upgrade_overtook(engine: Engine) -> None:
    """It extends, but does not bring the old product back."""
    make(engine, bought=purchase())
    order = Order("u", "", ("Q",), linear_values={"Q": 7})
    with writing(engine) as session:
        product_changes.upgrade(session, upgrade(AT + 10), order, "Q", AT + 10)
    send(engine, refresh(AT + 5, 5000), successor=Successor("P-YEAR", catalogue=ALIKE))
    made = instance(engine)
    assert (made.product_id, made.linear_value, made.expires) == ("Q", 7, 5000)
    send(engine, refresh(AT + 15, 6000, "r2"), successor=Successor("Q-YEAR", catalogue=ALIKE))
    assert instance(engine).product_id == "Q-YEAR"


def test_an_upgrade_that_another_overtook(engine: Engine) -> None:
    """The newest upgrade stands, and what it bought."""
    make(engine, bought=purchase())
    for at, product in ((20, "R"), (10, "Q")):
        order = Order(product, "", (product,), linear_values={product: at})
        with writing(engine) as session:
            product_changes.upgrade(session, upgrade(AT + at, product), order, product, AT + 20)
    assert (instance(engine).product_id, instance(engine).linear_value) == ("R", 20)


class Crash(Exception):
    """The process dies here."""


@pytest.mark.parametrize("bought", [None, purchase()], ids=["waiting", "known"])
def test_a_crash_leaves_nothing(engine: Engine, bought: Purchase | None) -> None:
    """An exception before the commit undoes every row."""

    def die(job: Callable[[Session], object]) -> None:
        with writing(engine) as session:
            job(session)
            raise Crash

    with pytest.raises(Crash):
        die(partial(lifecycle.create, event=new(), purchase=bought, at=AT))
    for table in (Instance, OrderLine, CustomerRow, ApiKey, LifecycleInbox, ProjectionOutbox):
        assert count(engine, table) == 0, table


def test_a_crash_undoes_a_release(engine: Engine) -> None:
    """A release that did not commit did not happen."""
    make(engine, bought=purchase())

    def die() -> None:
        with writing(engine) as session:
            lifecycle.apply(session, release(AT + 1), AT)
            raise Crash

    with pytest.raises(Crash):
        die()
    assert instance(engine).status == "active"
    assert count(engine, LifecycleInbox) == 1


def test_an_upgrade_of_the_quantity_alone_is_told(engine: Engine) -> None:
    """A larger package of the same product is more to lend: it must not wait for another change."""
    make(engine, bought=purchase())
    with writing(engine) as session:
        session.execute(delete(ProjectionOutbox))
    order = Order("u", "", ("P",), linear_values={"P": 9})
    with writing(engine) as session:
        product_changes.upgrade(session, upgrade(AT + 10), order, "P", AT + 10)
    assert instance(engine).linear_value == 9
    assert count(engine, ProjectionOutbox) == 1
    assert count(engine, Upgrade) == 0
