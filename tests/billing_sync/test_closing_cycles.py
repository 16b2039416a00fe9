"""Products by the day, and by the size of a record: one record a cycle, on real SQL."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from metering.catalogue import Band, Price, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, METER, MINUTE, SECOND, START, Books

TIER = Price(mode="tier", bands=[Band(price=Decimal(1))])
DAY = Product(product_id="TOKENS", meter=METER, unit=1000, cycle="day")
HOURLY = Product(product_id="HOURLY", meter=METER, unit=1000)
STOP = CATALOGUE["STOP"]
# START is 2027-01-15T08:00Z: the day in Beijing has begun 16 hours before and ends 8 hours later.
DAY_END = START + 8 * HOUR_MS
A_DAY = 24 * HOUR_MS


@pytest.fixture
def books(engine: Engine) -> Books:
    books = Books(engine, catalogue([DAY, HOURLY, STOP]))
    books.zone = ZoneInfo("Asia/Shanghai")
    return books


def tiered(books: Books, product: Product) -> None:
    """The product's price is that of a single record."""
    books.catalogue = {**books.catalogue, "TOKENS": product.model_copy(update={"price": TIER})}


def test_a_day_is_one_record(books: Books) -> None:
    """Hours close one by one; the record is made when the last one of the day in the zone does."""
    books.buy("i", started=DAY_END - A_DAY - HOUR_MS)
    books.buy("hourly", "HOURLY")
    for _ in range(10):
        books.use("i", 1000)
        books.use("hourly", 500)
        books.to_the_next_hour()
        made = books.close()
        assert made is not None
        if books.clock.now_ms() < DAY_END:
            assert (made, books.records()) == ((1, 0), [])
    (record,) = books.records()
    assert (record.begin, record.end) == (DAY_END - A_DAY, DAY_END)
    assert (record.quantity, record.value) == (8000, "8.0000")
    assert len(books.records("hourly")) == 10
    books.audit()
    books.audit("hourly")


def test_what_came_in_late_stands_in_the_day_that_is_open(books: Books) -> None:
    """An hour that is closed belongs to a day that need not be."""
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.close()
    books.use("i", 30, window=START // HOUR_MS)
    books.clock.time_ms = DAY_END + 2 * SECOND
    assert books.close() == (1, 0)
    books.use("i", 7, window=START // HOUR_MS)
    books.clock.advance(ms=A_DAY)
    books.close()
    assert [r.quantity for r in books.records()] == [1030, 7]
    assert [(r.begin, r.end) for r in books.records()] == [
        (START, DAY_END),
        (DAY_END, DAY_END + A_DAY),
    ]
    books.audit()


def test_days_missed_are_recorded_one_by_one(books: Books) -> None:
    """However long nothing was closed."""
    books.buy("i")
    for _ in range(3):
        books.use("i", 1000)
        books.clock.advance(ms=A_DAY)
    assert books.close() == (3, 0)
    assert [r.end for r in books.records()] == [DAY_END + n * A_DAY for n in range(3)]
    books.audit()


@pytest.mark.parametrize("by_close", [False, True])
def test_a_release_ends_the_day(books: Books, by_close: bool) -> None:
    """Its last interval does not wait for midnight."""
    books.buy("i")
    books.use("i", 1000)
    books.clock.advance(ms=HOUR_MS)
    books.use("i", 500)
    books.release("i")
    books.clock.advance(seconds=3)
    if by_close:
        books.to_the_next_hour()
        assert books.close() == (1, 0)
    else:
        assert books.cut(released_only=True) == (1, 0)
    assert books.intervals() == [(0, 3600 + 595)]
    books.audit()


def test_a_cut_divides_a_day(books: Books) -> None:
    """A price by the unit is the same however it is cut."""
    books.buy("i")
    books.use("i", 1000)
    assert books.cut() == (1, 0)
    books.use("i", 500)
    books.clock.time_ms = DAY_END + SECOND
    assert books.close() == (1, 0)
    assert books.intervals() == [(0, 600), (600, 8 * 3600)]
    books.audit()


@pytest.mark.parametrize("product", [DAY, CATALOGUE["TOKENS"]])
def test_a_tier_price_is_that_of_the_whole_cycle(books: Books, product: Product) -> None:
    """So no cut divides it; only a release does."""
    tiered(books, product)
    books.buy("i")
    books.use("i", 1000)
    assert books.cut() == (0, 0)
    books.clock.advance(ms=20 * MINUTE)
    books.use("i", 500)
    books.clock.time_ms = DAY_END + SECOND
    assert books.close() == (1, 0)
    books.use("i", 70)
    books.release("i", sent_at=DAY_END + 30 * SECOND)
    books.clock.advance(ms=MINUTE)
    assert books.cut(released_only=True) == (1, 0)
    assert [r.quantity for r in books.records()] == [1500, 70]
    books.audit()


def test_packages_of_all_hours_of_a_day(books: Books) -> None:
    """A record for each package that is named, and the rest of the day beside it."""
    books.buy("i")
    books.use("i", 1000)
    books.clock.advance(ms=HOUR_MS)
    books.buy("pack", "STOP", started=books.clock.now_ms())
    books.use("i", 4000)
    books.clock.advance(ms=HOUR_MS)
    books.use("i", 5000)
    books.use("i", 9000)
    books.clock.time_ms = DAY_END + SECOND
    assert books.close() == (2, 0)
    found = [(r.relate_pkg_instance, r.quantity) for r in books.records()]
    assert found == [("", 1000), ("pack", 10_000)]
    assert books.buckets() == {"overshoot": 8000}
    books.audit()
