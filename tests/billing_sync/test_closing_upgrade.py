"""An upgrade ends the running record; both products get what is theirs, and sums are exact."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.models import Carry
from billing_sync.records import SCALE
from billing_sync.store.engine import writing
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, METER, MINUTE, START, Books

CATALOGUE = catalogue(
    [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        Product(product_id="BIGGER", meter=METER, unit=300_000),
        Product(product_id="CALLS", meter="requests"),
        Product(product_id="DAILY", meter=METER, unit=10, cycle="day"),
    ]
)


@pytest.fixture
def books(engine: Engine) -> Books:
    books = Books(engine, CATALOGUE)
    books.buy("i")
    return books


def upgrade(books: Books, new: str, old: str = "TOKENS") -> None:
    """The callback came in now, and its order is known."""
    now_ms = books.clock.now_ms()
    columns: dict[str, Any] = {"instance_id": "i", "order_line_id": "1", "partition": 0}
    with writing(books.engine) as session:
        session.add(
            Upgrade(
                order_id=str(now_ms),
                at=now_ms,
                received_at=now_ms,
                old_product_id=old,
                new_product_id=new,
                **columns,
            )
        )
    books.change("i", product_id=new)


def found(books: Books) -> list[tuple[str, int, str]]:
    return [(r.product_id, r.quantity, r.value) for r in books.records()]


def balanced(books: Books) -> None:
    """Per meter: what was pushed, times the unit it was divided by, and the remainders are the use."""
    pushed = sum(Decimal(r.value) * r.unit * SCALE for r in books.records())
    carries = books.all(Carry)
    covered = sum(r.quantity for r in books.records()) + sum(c.waiting for c in carries)
    assert pushed + sum(c.quantity for c in carries) == covered * SCALE


def test_the_record_ends_at_the_upgrade(books: Books) -> None:
    """Old product and old unit before it, the new ones behind it."""
    books.use("i", 3500)
    upgrade(books, "BIGGER")
    books.clock.advance(seconds=3)
    assert books.cut(released_only=True) == (1, 0)
    books.use("i", 600_000)
    assert books.cut(released_only=True) == (0, 0)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert found(books) == [("TOKENS", 3500, "3.5000"), ("BIGGER", 600_000, "2.0000")]
    assert books.intervals() == [(0, 595), (600, 3600)]
    balanced(books)


def test_what_comes_in_late_from_before(books: Books) -> None:
    """Its own hour tells whose it is; in the upgrade's hour the five seconds before it are left."""
    books.use("i", 1000)
    books.to_the_next_hour()
    books.close()
    upgrade(books, "BIGGER")
    books.clock.advance(seconds=3)
    books.cut(released_only=True)
    books.use("i", 700, window=HOUR)
    books.use("i", 600_000)
    books.to_the_next_hour()
    assert books.close() == (2, 0)
    assert found(books)[1:] == [("TOKENS", 700, "0.7000"), ("BIGGER", 600_000, "2.0000")]
    books.use("i", 1300, window=HOUR)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert found(books)[3:] == [("TOKENS", 1300, "1.3000")]
    assert books.unrecorded() == 0
    balanced(books)


def test_an_hour_that_closes_before_the_cut(books: Books) -> None:
    """The control plane was away: the close does both."""
    books.use("i", 3500)
    upgrade(books, "BIGGER")
    books.to_the_next_hour()
    books.use("i", 300_000)
    books.to_the_next_hour()
    assert books.close() == (2, 0)
    assert found(books) == [("TOKENS", 3500, "3.5000"), ("BIGGER", 300_000, "1.0000")]
    assert books.intervals() == [(0, 595), (3600, 7200)]
    assert [row.settled for row in books.all(Upgrade)] == [1]


def test_another_meter(books: Books) -> None:
    """Each meter its own records and its own remainder, also for what comes in late."""
    books.use("i", 3500)
    books.clock.advance(ms=MINUTE)
    books.catalogue = {
        **CATALOGUE,
        "TOKENS": Product(product_id="TOKENS", meter=METER, unit=30_000_000),
    }
    upgrade(books, "CALLS")
    books.clock.advance(seconds=3)
    assert books.cut(released_only=True) == (1, 0)
    books.use("i", 4, meter="requests")
    books.use("i", 5000)
    books.to_the_next_hour()
    assert books.close() == (2, 0)
    assert found(books) == [
        ("TOKENS", 3500, "0.0001"),
        ("TOKENS", 5000, "0.0001"),
        ("CALLS", 4, "4.0000"),
    ]
    remainders = {row.package_id: (row.quantity, row.waiting) for row in books.all(Carry)}
    assert remainders == {"": (0, 0), "!TOKENS": (2500 * SCALE, 0)}
    balanced(books)
    upgrade(books, "TOKENS", old="CALLS")
    books.clock.advance(seconds=3)
    books.cut(released_only=True)
    remainders = {row.package_id: (row.quantity, row.waiting) for row in books.all(Carry)}
    assert remainders == {"!CALLS": (0, 0), "": (2500 * SCALE, 0)}


def test_to_a_product_by_the_day(books: Books) -> None:
    """The old one's hours do not wait for midnight, the new one's day begins with the upgrade."""
    books.use("i", 3500)
    upgrade(books, "DAILY")
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    books.use("i", 20)
    books.clock.time_ms = START + 17 * HOUR_MS
    assert books.close() == (1, 0)
    assert found(books) == [("TOKENS", 3500, "3.5000"), ("DAILY", 20, "2.0000")]
    assert books.intervals() == [(0, 595), (600, 16 * 3600)]


def test_and_a_release_soon_after(books: Books) -> None:
    """Everything ends inside the instance's life."""
    books.use("i", 1000)
    upgrade(books, "BIGGER")
    books.clock.advance(seconds=20)
    books.use("i", 300_000)
    books.release("i")
    books.clock.advance(seconds=3)
    books.cut(released_only=True)
    for _ in range(9):
        books.use("i", 1000, window=HOUR - 1)
        books.to_the_next_hour()
        books.close()
    last = books.records()[-1]
    assert last.end <= START + 620_000
    covered = sum(r.quantity for r in books.records()) + sum(c.waiting for c in books.all(Carry))
    assert covered + sum(books.buckets().values()) == 310_000
    balanced(books)
