"""What was ever used and recorded."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from billing_sync.store import running_totals
from billing_sync.store.engine import reading, writing
from metering.usage import Grade
from metering.windows import Window
from tests.billing_sync.books import HOUR, METER, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def test_usage_grows_with_every_drain(books: Books) -> None:
    """By meter and grade; what instances are charged for is the same usage, not more of it."""
    books.buy("i")
    for _ in range(2):
        books.use("", 5)
        books.use("i", 5)
        books.use("", 2, grade=Grade.ESTIMATED)
    with reading(books.engine) as session:
        assert running_totals.by_meter(session) == {(METER, "exact"): 10, (METER, "estimated"): 4}


def test_records_are_added_up_as_they_are_made(books: Books) -> None:
    """With and without a package."""
    books.buy("i")
    books.use("i", 2500)
    books.to_the_next_hour()
    books.close()
    with reading(books.engine) as session:
        assert running_totals.by_product(session) == [("TOKENS", False, 1, Decimal("2.5"))]
        (made,) = running_totals.by_product(session)
    assert made.units == sum(Decimal(record.value) for record in books.records())


def test_customers_are_the_same_before_and_after_a_window_is_added_up(books: Books) -> None:
    """Each window once, however often it is asked for."""
    for customer, quantity in (("a", 3), ("b", 5)):
        books.use("", quantity, customer_id=customer, meter="requests")
        books.use("", 7, customer_id=customer, meter="requests", window=HOUR + 1)
    for end in (0, HOUR, HOUR + 1, HOUR + 1, HOUR + 2, HOUR):
        with writing(books.engine) as session:
            running_totals.add_up_through(session, Window(end))
        with reading(books.engine) as session:
            found = running_totals.of_customers(session, ["a", "b", "c"])
            assert found == {("a", "requests"): 10, ("b", "requests"): 12}
            assert running_totals.busiest(session, 9) == ["b", "a"]
            assert running_totals.busiest(session, 1) == ["b"]


def test_instances_by_what_they_are(books: Books) -> None:
    """By product, kind and status."""
    books.buy("i")
    books.buy("j", status="frozen")
    books.buy("p", "PACK")
    with reading(books.engine) as session:
        assert running_totals.instances(session) == {
            ("TOKENS", "pay_per_use", "active"): 1,
            ("TOKENS", "pay_per_use", "frozen"): 1,
            ("PACK", "package", "active"): 1,
        }
