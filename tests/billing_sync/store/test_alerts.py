"""Alerts in the ledger: raised with the deduction that passes a threshold, and once."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlmodel import select

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.store import ledger, package_totals
from billing_sync.store.engine import reading, writing
from metering.catalogue import Package, PackageItem, Product, catalogue
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import HOUR_MS, Window
from tests.billing_sync.books import HOUR, METER, START, Books, package
from tests.billing_sync.correcting import Desk
from tests.billing_sync.hooks import NOWHERE, TERMS, raised, selling


@pytest.fixture
def books(engine: Engine) -> Books:
    return selling(engine, NOWHERE)


def test_each_threshold_is_raised_once(books: Books, engine: Engine) -> None:
    """By the first drain that reaches it, whatever is used after that."""
    books.use("i", 7_999)
    assert raised(engine) == []
    books.use("i", 1)
    assert raised(engine) == [("pack", "8.0000", 80)]
    books.use("i", 1_499)
    assert raised(engine) == [("pack", "8.0000", 80)]
    books.clock.advance(ms=1)
    books.use("i", 5_000)
    assert raised(engine)[1:] == [("pack", "10.0000", 95), ("pack", "10.0000", 100)]
    books.use("i", 5_000)
    assert len(raised(engine)) == 3


def test_what_an_alert_says(books: Books, engine: Engine) -> None:
    """The figures of the moment, and whose package it is; a delivery for each webhook waits."""
    books.change("pack", expires=START + HOUR_MS)
    books.use("i", 8_765)
    with reading(engine) as session:
        (alert,) = session.exec(select(Alert)).all()
        (delivery,) = session.exec(select(AlertDelivery)).all()
    assert alert.model_dump(exclude={"id"}) == {
        "package_id": "pack",
        "item": "TOKENS",
        "threshold": 80,
        "customer_id": "cust-1",
        "product_id": "PACK",
        "quota": "10.0000",
        "used": "8.7650",
        "remaining": "1.2350",
        "percent": "87.6500",
        "expires": START + HOUR_MS,
        "at": books.clock.now_ms(),
    }
    assert (delivery.alert_id, delivery.webhook) == (alert.id, NOWHERE.name)
    assert (delivery.state, delivery.next_attempt) == ("pending", books.clock.now_ms())


def test_without_webhooks_it_stands_all_the_same(engine: Engine) -> None:
    """For metrics and lists; without thresholds there is nothing to say."""
    books = selling(engine)
    books.alerts = SILENT
    books.use("i", 8_500)
    assert raised(engine) == []
    books.alerts = AlertTerms((80,))
    books.use("i", 500)
    assert raised(engine) == [("pack", "9.0000", 80)]
    assert books.all(AlertDelivery) == []


def test_the_alert_is_in_the_transaction_of_the_deduction(books: Books, engine: Engine) -> None:
    """A drain that fails after it leaves neither."""

    def fail(_: Any) -> None:
        raise RuntimeError("the machine stops")

    event.listen(engine, "commit", fail)
    with pytest.raises(RuntimeError):
        books.use("i", 9_000)
    event.remove(engine, "commit", fail)
    assert raised(engine) == []
    assert books.given() == {}
    books.use("i", 9_000)
    assert raised(engine) == [("pack", "9.0000", 80)]


def test_a_package_that_gives_nothing_is_not_looked_at(books: Books, engine: Engine) -> None:
    """Old packages that were used up long ago raise nothing when alerts are switched on."""
    books.alerts = SILENT
    books.use("i", 10_000)
    books.buy("pack-2", "PACK", started=START + 1)
    books.alerts = TERMS
    books.use("i", 8_000)
    assert raised(engine) == [("pack-2", "8.0000", 80)]


def test_usage_that_no_package_covers_asks_nothing(engine: Engine) -> None:
    """As good as all drains: not a statement more."""
    books = Books(engine)
    books.buy("i")
    books.use("i", 5)
    counts = []
    for terms in (SILENT, TERMS):
        books.alerts = terms
        said: list[str] = []

        def hear(*args: Any, said: list[str] = said) -> None:
            said.append(args[2])

        event.listen(engine, "before_cursor_execute", hear)
        books.use("i", 5)
        event.remove(engine, "before_cursor_execute", hear)
        counts.append(len(said))
    assert counts[0] == counts[1] > 0


def test_each_item_of_a_package_has_its_own(engine: Engine) -> None:
    """And each package its own; a quota is multiplied by what the buyer chose."""
    items = [PackageItem(of="TOKENS", quota=Decimal(10)), PackageItem(of="CALLS", quota=Decimal(4))]
    both = Product(product_id="BOTH", package=Package(items=items))
    products = [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        Product(product_id="CALLS", meter="requests"),
    ]
    books = Books(engine, catalogue([*products, both]))
    books.alerts = TERMS
    books.buy("i")
    books.buy("j", "CALLS")
    books.buy("both", "BOTH", linear_value=2)
    books.use("i", 10_000)
    books.use("j", 7, meter="requests")
    with reading(engine) as session:
        found = session.exec(select(Alert.item, Alert.threshold, Alert.quota)).all()
    assert found == [("CALLS", 80, "8.0000")]


def test_the_next_package_begins_again(books: Books, engine: Engine) -> None:
    """One drain may use up one package and pass a threshold of the next."""
    books.buy("pack-2", "PACK", started=START + 1)
    books.use("i", 18_000)
    assert sorted((p, t) for p, _, t in raised(engine)) == [
        ("pack", 80),
        ("pack", 95),
        ("pack", 100),
        ("pack-2", 80),
    ]


def test_overshoot_is_no_package(engine: Engine) -> None:
    """Only what the package itself gave counts, and that stops at its quota."""
    books = Books(engine)
    books.alerts = TERMS
    books.buy("i")
    books.buy("stop", "STOP")
    books.use("i", 30_000)
    assert [used for _, used, _ in raised(engine)] == ["10.0000"] * 3


def test_late_usage_of_a_released_package(books: Books, engine: Engine) -> None:
    """Passes thresholds as any other usage does."""
    books.use("i", 7_000)
    books.to_the_next_hour()
    books.release("pack")
    books.use("i", 2_000, window=HOUR)
    assert raised(engine) == [("pack", "9.0000", 80)]


def test_what_is_given_back_is_not_told_again(books: Books, engine: Engine) -> None:
    """A recovery undoes deductions and makes them anew."""
    books.use("i", 9_000)
    with writing(engine) as session:
        ledger.lock_all(session)
        package_totals.undo_unrecorded(session, ["i"])
    assert books.given() == {}
    books.use("i", 8_500)
    assert raised(engine) == [("pack", "9.0000", 80)]


def test_a_renewal_with_more_quota_is_not_told_again(books: Books, engine: Engine) -> None:
    """Once each for a package's whole life."""
    books.use("i", 8_000)
    books.change("pack", linear_value=2)
    books.use("i", 8_500)
    assert raised(engine) == [("pack", "8.0000", 80)]


def test_usage_that_is_assigned_later_counts(engine: Engine) -> None:
    """Suspense that a person charges to an instance is deducted there and then."""
    desk = Desk(engine)
    desk.serve(9_000)
    desk.books.buy("i")
    desk.books.buy("pack", "PACK")
    desk.corrector = replace(desk.corrector, alerts=TERMS)
    desk.assign()
    assert raised(engine) == [("pack", "9.0000", 80)]


def test_usage_that_waited_for_a_package(engine: Engine) -> None:
    """A package that is bought later gives to it at the next close, whether anything is used or not."""
    terms = {"items": [PackageItem(of="TOKENS", quota=Decimal(10))], "stop_before_excess": True}
    following = Package.model_validate(terms | {"overshoot": "next_package"})
    products = [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        package("STOP", 10, stop=True),
    ]
    books = Books(engine, catalogue([*products, Product(product_id="NEXT", package=following)]))
    books.buy("i")
    books.buy("first", "NEXT")
    books.use("i", 19_500)
    books.alerts = TERMS
    books.clock.advance(seconds=60)
    books.buy("second", "NEXT", started=books.clock.now_ms())
    books.to_the_next_hour()
    books.close()
    assert [(p, t) for p, _, t in raised(engine)] == [("second", 80), ("second", 95)]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    uses=st.lists(st.integers(0, 4_000), max_size=8),
    thresholds=st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True),
)
def test_any_usage_in_any_pieces(engine: Engine, uses: list[int], thresholds: list[int]) -> None:
    """What was raised is what the sum has passed, at the sum that passed it first."""
    with engine.begin() as connection:
        for table in reversed(Alert.metadata.sorted_tables):
            connection.execute(table.delete())
    books = selling(engine, thresholds=tuple(sorted(thresholds)))
    total = 0
    expected: dict[int, str] = {}
    for quantity in uses:
        if not quantity:
            continue
        books.use("i", quantity)
        total = min(total + quantity, 10_000)
        for each in thresholds:
            if total >= each * 100:
                expected.setdefault(each, f"{Decimal(total) / 1000:.4f}")
    assert {threshold: used for _, used, threshold in raised(engine)} == expected


def test_two_customers_of_one_drain(books: Books, engine: Engine) -> None:
    """Each of his own package."""
    books.buy("k", customer_id="cust-2")
    books.buy("theirs", "PACK", customer_id="cust-2")
    key = {"route": "chat", "meter": METER, "grade": Grade.EXACT}
    books.drain(
        {
            DeltaKey(Window(HOUR), customer_id="cust-1", instance_id="i", **key): 8_000,  # type: ignore[arg-type]
            DeltaKey(Window(HOUR), customer_id="cust-2", instance_id="k", **key): 9_500,  # type: ignore[arg-type]
        }
    )
    with reading(engine) as session:
        found = session.exec(select(Alert.customer_id, Alert.package_id, Alert.threshold)).all()
    assert sorted(found) == [
        ("cust-1", "pack", 80),
        ("cust-2", "theirs", 80),
        ("cust-2", "theirs", 95),
    ]
