"""Usage as Prometheus is told of it."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from billing_sync.usage_metrics import Figures, UsageFigures, families
from metering.catalogue import Price, Product, catalogue
from tests.billing_sync.books import METER, Books

PRICED = catalogue(
    [Product(product_id="TOKENS", meter=METER, unit=1000, price=Price(unit_price=Decimal("0.5")))]
)


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine, PRICED)


def shown(figures: Figures) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values."""
    return {
        (sample.name.removeprefix("billing_sync_"), *sample.labels.values()): sample.value
        for family in families(figures, PRICED)
        for sample in family.samples
    }


def test_the_busiest_are_named_and_all_others_are_one(books: Books) -> None:
    """So that the sum is everything, and only so many series are there."""
    for number in range(1, 6):
        books.use("", number, customer_id=f"c{number}", meter="requests")
    books.use("", 100, customer_id="other", meter="requests")  # a name that is taken
    found = shown(UsageFigures(books.engine, 3).look(books.clock.now_ms()))
    assert {key[1:]: n for key, n in found.items() if key[0] == "customer_usage_total"} == {
        ("c5", "requests"): 5,
        ("c4", "requests"): 4,
        ("other", "requests"): 106,
    }
    assert found["usage_total", "requests", "exact"] == 115


def test_a_window_that_closes_changes_nothing(books: Books) -> None:
    """Nor does another process, which begins with what the ledger holds."""
    books.buy("i")
    after: dict[tuple[str, ...], float] = {}
    for _ in range(3):
        books.use("", 10)
        books.use("", 1, meter="requests")
        books.use("i", 3000)
        before = shown(UsageFigures(books.engine, 5).look(books.clock.now_ms()))
        books.to_the_next_hour()
        books.close()
        after = shown(UsageFigures(books.engine, 5).look(books.clock.now_ms()))
        used = [key for key in before if "usage" in key[0]]
        assert {key: after[key] for key in used} == {key: before[key] for key in used}
    assert after["customer_usage_total", "cust-1", METER] == 30
    assert after["records_total", "TOKENS", "no"] == 3
    assert after["record_units_total", "TOKENS", "no"] == 9
    assert after["revenue_estimate_total", "TOKENS", "CNY"] == 4.5
