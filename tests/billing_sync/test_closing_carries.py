"""Remainders that become records without new usage, as adjustments leave them."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from billing_sync.models import Carry, Instance
from billing_sync.records import SCALE
from billing_sync.store.engine import writing
from metering.catalogue import Band, Price, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, METER, SECOND, START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    books = Books(engine)
    books.buy("i")
    return books


def adjust(books: Books, quantity: int, instance_id: str = "i") -> None:
    """So many meter units more or less, as an adjustment does it."""
    with writing(books.engine) as session:
        row = session.get(Carry, (instance_id, "")) or Carry(instance_id=instance_id)
        row.quantity += quantity * SCALE
        session.add(row)


def remainder(books: Books) -> tuple[int, int]:
    (row,) = books.all(Carry)
    return row.quantity, row.waiting


def values(books: Books) -> list[tuple[int, str]]:
    return [(r.quantity, r.value) for r in books.records()]


def test_an_adjustment_alone_is_a_record(books: Books) -> None:
    """Of no usage, over the hour that was closed."""
    adjust(books, 2500)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert (values(books), books.intervals()) == ([(0, "2.5000")], [(0, 3600)])
    assert remainder(books) == (0, 0)
    books.to_the_next_hour()
    assert books.close() == (0, 0)


def test_with_usage_it_is_one_record(books: Books) -> None:
    """It is netted, whichever comes first."""
    adjust(books, 2500)
    books.use("i", 1000)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert values(books) == [(1000, "3.5000")]


def test_what_is_taken_back_is_netted_into_later_records(books: Books) -> None:
    """Nothing below zero is ever pushed."""
    books.use("i", 1000)
    adjust(books, -3500)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert remainder(books) == (-2500 * SCALE, 1000)
    adjust(books, 2600)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert values(books) == [(1000, "0.1000")]
    assert remainder(books) == (0, 0)


def test_it_waits_for_a_cycle_without_a_record(books: Books) -> None:
    """The hour has its record: the next one takes it in, so that no cycle has two."""
    books.use("i", 1000)
    books.to_the_next_hour()
    books.cut()
    adjust(books, 1500)
    books.close()
    assert books.intervals() == [(0, 3600)]
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert books.intervals() == [(0, 3600), (3600, 7200)]


def test_too_little_waits_and_is_looked_at_once(books: Books) -> None:
    """A remainder below 0.0001 is no record; later closes pass it by."""
    million = Product(product_id="TOKENS", meter=METER, unit=1_000_000)
    books.catalogue = catalogue([million])
    adjust(books, 60)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    (row,) = books.all(Carry)
    assert (row.quantity, row.unit) == (60 * SCALE, 1_000_000)
    adjust(books, 40)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert values(books) == [(0, "0.0001")]


def test_many_of_them_go_by_pages(books: Books) -> None:
    """Nobody is left out."""
    books.page = 2
    for number in range(5):
        adjust(books, 1000, books.buy(f"j{number}"))
    books.to_the_next_hour()
    assert books.close() == (5, 0)


@pytest.mark.parametrize("columns", [{"product_id": "UNHEARD-OF"}, {"source": "static"}])
def test_whose_price_nobody_knows_waits(books: Books, columns: dict[str, str]) -> None:
    """Kept until somebody does."""
    books.change("i", **columns)
    adjust(books, 1000)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert remainder(books) == (1000 * SCALE, 0)


def test_after_a_release_it_takes_the_seconds_that_are_free(books: Books) -> None:
    """And when there are none it stays where it can be seen."""
    books.release("i")
    for before in range(7):
        adjust(books, 1000)
        books.to_the_next_hour()
        books.close()
        assert len(books.records()) == min(before + 1, 6)
    assert remainder(books) == (1000 * SCALE, 0)
    assert books.buckets() == {}


def test_of_a_product_by_the_day(books: Books) -> None:
    """Into the last day that is over, once: not one record an hour."""
    books.zone = ZoneInfo("Asia/Shanghai")
    tier = Price(mode="tier", bands=[Band(price=Decimal(1))])
    books.catalogue = {
        **CATALOGUE,
        "TOKENS": Product(product_id="TOKENS", meter=METER, unit=1000, cycle="day", price=tier),
    }
    books.change("i", started=START - 48 * HOUR_MS)
    for _ in range(3):
        adjust(books, 1000)
        books.to_the_next_hour()
        books.close()
    assert books.intervals() == [(-40 * 3600, -16 * 3600)]
    assert remainder(books) == (2000 * SCALE, 0)
    books.clock.time_ms = START + 8 * HOUR_MS + SECOND
    books.close()
    assert values(books) == [(0, "1.0000"), (0, "2.0000")]
    with writing(books.engine) as session:
        instance = session.get_one(Instance, "i")
        assert instance.recorded_until == START + 8 * HOUR_MS
