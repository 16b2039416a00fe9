"""Usage of an hour becomes its usage record, on real SQL."""

import pytest
from sqlalchemy import Engine

from billing_sync.models import UsageWindow
from billing_sync.store.engine import writing
from metering.catalogue import Product, catalogue
from metering.usage import Grade
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, HOUR, METER, SECOND, START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def test_an_hour_is_one_record(books: Books) -> None:
    """All routes and grades of the product's meter together, over the whole hour."""
    books.buy("i")
    books.use("i", 1000)
    books.use("i", 500, route="images")
    books.use("i", 5, grade=Grade.PARTIAL)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    (record,) = books.records()
    assert (record.begin, record.end) == (START, START + HOUR_MS)
    assert (record.quantity, record.value) == (1505, "1.5050")
    assert (record.customer_id, record.product_id, record.meter) == ("cust-1", "TOKENS", METER)
    assert (record.state, record.recorded_at) == ("pending", books.clock.now_ms())
    assert record.relate_pkg_instance == ""
    books.audit()


def test_it_begins_when_the_instance_does(books: Books) -> None:
    """The first whole second after the start: earlier would be outside the resource's life."""
    books.buy("i", started=START + 1500)
    books.use("i", 1000)
    books.to_the_next_hour()
    books.close()
    assert books.intervals() == [(2, 3600)]


def test_usage_from_before_the_start_takes_the_first_seconds(books: Books) -> None:
    """A gateway's clock may be behind ours; such usage waits for seconds that exist."""
    books.buy("i", started=START + HOUR_MS + SECOND)
    books.use("i", 1000, window=HOUR)
    books.clock.time_ms = START + HOUR_MS + SECOND
    assert books.close() == (0, 1)
    books.clock.advance(seconds=5)
    assert books.cut() == (1, 0)
    assert books.intervals() == [(3601, 3602)]
    books.audit()


def test_a_closed_hour_is_closed(books: Books) -> None:
    """Closing again, or for less, makes nothing; the mark only moves forward."""
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.close()
    assert books.close() is None
    assert books.close(through_ms=START) is None
    assert books.closed_through() == START + HOUR_MS
    assert books.cut() == (0, 0)
    assert len(books.records()) == 1


def test_usage_of_a_closed_hour_stands_in_the_next_record(books: Books) -> None:
    """It is booked late and adds to the window that is open."""
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.close()
    books.use("i", 300, window=HOUR)
    books.use("i", 40)
    assert {row.mark for row in books.all(UsageWindow)} == {"", "late"}
    books.to_the_next_hour()
    books.close()
    assert books.intervals() == [(0, 3600), (3600, 7200)]
    assert [record.quantity for record in books.records()] == [1000, 340]
    books.audit()


def test_a_cut_and_the_close_of_its_hour_adjoin(books: Books) -> None:
    """Two distinct intervals, together the hour."""
    books.buy("i")
    books.use("i", 1000)
    assert books.cut() == (1, 0)
    assert books.cut() == (0, 0)
    books.use("i", 500)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert books.intervals() == [(0, 600), (600, 3600)]
    books.audit()


def test_a_cut_within_the_same_second_waits(books: Books) -> None:
    """An interval has at least a second; what has none yet is not lost."""
    books.buy("i")
    books.use("i", 1000)
    books.cut()
    books.use("i", 500)
    assert books.cut() == (0, 1)
    assert books.unrecorded() == 500
    books.clock.advance(seconds=1)
    assert books.cut() == (1, 0)
    assert books.intervals() == [(0, 600), (600, 601)]


def test_a_cut_just_after_the_hour_leaves_the_open_hour_alone(books: Books) -> None:
    """The hour that is over gets its end, not the time of the cut."""
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.use("i", 7)
    books.cut()
    assert books.intervals() == [(0, 3600), (3600, 3602)]
    books.audit()


def test_more_of_an_hour_that_was_cut_to_its_end(books: Books) -> None:
    """It takes the next free second, and the open hour begins after that."""
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.cut()
    books.use("i", 500, window=HOUR)
    books.close()
    books.to_the_next_hour()
    books.use("i", 5, window=HOUR + 1)
    books.close()
    assert books.intervals() == [(0, 3600), (3600, 3601), (3601, 7200)]
    books.audit()


def test_hours_missed_are_closed_one_by_one(books: Books) -> None:
    """A control plane that was away gives every hour its own record."""
    books.buy("i")
    for window in (HOUR, HOUR + 1, HOUR + 3):
        books.clock.time_ms = max(books.clock.time_ms, window * HOUR_MS)
        books.use("i", 1000)
    books.clock.time_ms = START + 6 * HOUR_MS + SECOND
    assert books.close() == (3, 0)
    assert books.intervals() == [(0, 3600), (3600, 7200), (10800, 14400)]


def test_each_instance_its_own_record(books: Books) -> None:
    """Also when a call charges two of them by different meters."""
    books.buy("i")
    books.buy("calls", "CALLS")
    books.use("i", 1000)
    books.use("calls", 3, meter="requests")
    books.use("", 1000)
    books.to_the_next_hour()
    assert books.close() == (2, 0)
    (record,) = books.records("calls")
    assert (record.value, record.meter) == ("3.0000", "requests")
    books.audit()
    books.audit("calls", unit=1)


def test_only_the_products_meter_is_billed(books: Books) -> None:
    """What was charged by another meter, before the configuration changed, is kept and named."""
    books.buy("i")
    books.use("i", 70_000, meter="requests")
    books.use("i", 1000)
    books.to_the_next_hour()
    assert books.close() == (1, 1)
    assert [(r.quantity, r.meter) for r in books.records()] == [(1000, METER)]
    assert books.unrecorded() == 70_000
    books.audit()
    books.catalogue = catalogue([Product(product_id="TOKENS", meter="requests")])
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert [(r.quantity, r.meter) for r in books.records()] == [(1000, METER), (70_000, "requests")]


def test_slices_of_another_meter_are_not_this_usages(books: Books) -> None:
    """A package that gave to the old meter never makes the new one negative."""
    books.buy("i")
    books.buy("pack", "STOP", started=START - HOUR_MS)
    books.use("i", 5000)
    products = [Product(product_id="TOKENS", meter="requests", unit=1000), CATALOGUE["STOP"]]
    books.catalogue = catalogue(products)
    with writing(books.engine) as session:
        session.add(
            UsageWindow(
                window=HOUR,
                origin=HOUR,
                customer_id="cust-1",
                instance_id="i",
                route="chat",
                meter="requests",
                grade="exact",
                partition=0,
                quantity=2000,
            )
        )
    books.to_the_next_hour()
    assert books.close() == (1, 1)
    (record,) = books.records()
    assert (record.quantity, record.relate_pkg_instance) == (2000, "pack")
    assert books.buckets() == {}


def test_what_the_marketplaces_gateway_charges_is_not_recorded(books: Books) -> None:
    """It is metered and named; the marketplace makes the charge itself, and no close waits for it."""
    books.catalogue = catalogue(
        [Product(product_id="TOKENS", meter=METER, charged_by="agents_gateway")]
    )
    books.buy("i")
    books.use("i", 1000)
    books.use("i", 7, meter="requests")
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert (books.unrecorded(), books.records()) == (0, [])
    assert books.buckets() == {"agents_gateway": 1007}
    books.use("i", 5)
    books.catalogue = CATALOGUE  # the merchant takes over: what comes from now on is recorded
    books.use("i", 500)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert [r.quantity for r in books.records()] == [505]
    books.audit()


def test_static_instances_have_no_records(books: Books) -> None:
    """Nobody would take them."""
    books.buy("i", source="static")
    books.use("i", 1000)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert books.records() == []


@pytest.mark.parametrize("product_id", ["", "UNHEARD-OF"])
def test_an_unknown_product_waits(books: Books, product_id: str) -> None:
    """Usage of an instance whose price nobody knows is kept until somebody does."""
    books.buy("i", product_id)
    books.use("i", 1000)
    books.to_the_next_hour()
    assert books.close() == (0, 1)
    books.audit()
    books.change("i", product_id="TOKENS")
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert books.intervals() == [(0, 3600)]
    books.audit()


def test_usage_of_an_instance_nobody_knows_is_kept(books: Books) -> None:
    """No row, no record, nothing lost."""
    books.use("stranger", 1000)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert books.unrecorded("stranger") == 1000


def test_a_frozen_instance_gets_its_record(books: Books) -> None:
    """Freezing does not cut: the hour is recorded as any other."""
    books.buy("i")
    books.use("i", 1000)
    books.change("i", status="frozen")
    books.to_the_next_hour()
    books.close()
    assert books.intervals() == [(0, 3600)]


def test_too_little_for_a_value_waits_in_the_remainder(books: Books) -> None:
    """Nothing below 0.0001 is pushed; the next record covers it."""
    million = Product(product_id="TOKENS", meter=METER, unit=1_000_000)
    books.catalogue = catalogue([million])
    books.buy("i")
    books.use("i", 60)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert books.records() == []
    books.audit(unit=1_000_000)
    books.use("i", 50)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    (record,) = books.records()
    assert (record.quantity, record.value, record.begin) == (110, "0.0001", START + HOUR_MS)
    books.audit(unit=1_000_000)


def test_more_than_a_record_can_say_is_split(books: Books) -> None:
    """At most 99,999,999.9999 each, intervals distinct."""
    books.catalogue = catalogue([Product(product_id="TOKENS", meter=METER)])
    books.buy("i")
    books.use("i", 250_000_000)
    books.to_the_next_hour()
    assert books.close() == (3, 0)
    books.audit(unit=1)
