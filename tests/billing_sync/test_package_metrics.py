"""What is left of packages, and for how long."""

import pytest
from sqlalchemy import Engine

from billing_sync.package_metrics import PackageLook, families
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def shown(books: Books, most: int = 9) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values."""
    figures = PackageLook(books.engine, CATALOGUE, most).look(books.clock.now_ms())
    return {
        (sample.name.removeprefix("billing_sync_"), *sample.labels.values()): sample.value
        for family in families(figures)
        for sample in family.samples
    }


def test_a_package_lasts_as_long_as_the_last_day_says(books: Books) -> None:
    """A quarter of it was used in the first hour, so it lasts for three more."""
    books.buy("i")
    books.buy("p", "PACK")
    assert ("package_lasts_seconds", "p", "cust-1", "TOKENS") not in shown(books)
    books.use("i", 2500)
    books.clock.time_ms += HOUR_MS - books.clock.time_ms % HOUR_MS
    found = shown(books)
    assert found["packages",] == 1
    assert found["package_quota_units", "p", "cust-1", "TOKENS"] == 10
    assert found["package_left_units", "p", "cust-1", "TOKENS"] == 7.5
    assert found["package_lasts_seconds", "p", "cust-1", "TOKENS"] == pytest.approx(3 * 3600)


def test_those_nearest_to_their_end_are_shown(books: Books) -> None:
    """So many; what is expired or released is over."""
    books.buy("i")
    books.buy("i2", customer_id="cust-2")
    books.buy("full", "PACK", customer_id="cust-2")
    books.buy("used", "PACK")
    books.buy("expired", "PACK", expires=books.clock.now_ms() - 1)
    books.buy("released", "PACK", released=books.clock.now_ms() - 1, status="released")
    books.use("i", 9000)
    found = shown(books, 1)
    assert found["packages",] == 2
    assert [key[1] for key in found if key[0] == "package_left_units"] == ["used"]
    assert shown(books, 0)["packages",] == 2
