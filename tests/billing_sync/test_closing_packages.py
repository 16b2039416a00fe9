"""What packages give shows in the records: named where the package stops, else not."""

import pytest
from sqlalchemy import Engine

from billing_sync.models import PackageUse
from billing_sync.packages import OVERSHOOT
from metering.windows import HOUR_MS
from tests.billing_sync.books import MINUTE, SECOND, START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def uses(books: Books) -> dict[str, tuple[int, int]]:
    return {row.package_id: (row.quantity, row.recorded) for row in books.all(PackageUse)}


def test_an_ordinary_package_is_not_named(books: Books) -> None:
    """One plain record of everything; the marketplace deducts, and so do we to show it."""
    books.buy("i")
    books.buy("pack", "PACK")
    books.use("i", 14_000)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    (record,) = books.records()
    assert (record.quantity, record.relate_pkg_instance) == (14_000, "")
    assert uses(books) == {"pack": (10_000, 10_000)}
    books.audit()


def test_packages_that_stop_are_named_in_the_order_of_their_expiry(books: Books) -> None:
    """A record each, side by side; what no package covers is no pay-per-use but overshoot."""
    books.buy("i")
    books.buy("later", "STOP", expires=START + 90 * HOUR_MS, started=START - HOUR_MS)
    books.buy("sooner", "STOP-2", expires=START + 9 * HOUR_MS, started=START - HOUR_MS)
    books.use("i", 8_000)
    books.use("i", 15_000)
    books.to_the_next_hour()
    assert books.close() == (2, 0)
    found = [(r.relate_pkg_instance, r.quantity, r.value) for r in books.records()]
    assert found == [("sooner", 10_000, "10.0000"), ("later", 10_000, "10.0000")]
    assert books.buckets() == {"overshoot": 3000}
    assert uses(books)[OVERSHOOT] == (3000, 3000)
    books.audit()


def test_nothing_left_but_overshoot(books: Books) -> None:
    """An empty package makes no records, and no usage is forgotten."""
    books.buy("i")
    books.buy("pack", "STOP", started=START - HOUR_MS)
    books.use("i", 10_000)
    books.to_the_next_hour()
    books.close()
    books.use("i", 700)
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert books.buckets() == {"overshoot": 700}
    books.audit()


def test_pay_per_use_before_the_package_lies_before_it(books: Books) -> None:
    """The plain interval begins before the package was bought, else it would have to name it."""
    books.buy("i")
    books.use("i", 1000)
    books.buy("pack", "STOP", started=START + 10 * MINUTE)
    books.use("i", 3000)
    books.to_the_next_hour()
    books.close()
    found = [(r.relate_pkg_instance, r.quantity) for r in books.records()]
    assert found == [("", 1000), ("pack", 3000)]
    books.audit()


def test_slices_and_a_release(books: Books) -> None:
    """Released with two free seconds and three slices: two are recorded, one is unbillable."""
    books.buy("i", started=START + 597 * SECOND)
    books.buy("a", "STOP", started=START - 2 * HOUR_MS, expires=START + 2 * HOUR_MS)
    books.buy("b", "STOP", started=START - 2 * HOUR_MS, expires=START + 3 * HOUR_MS)
    books.buy("c", "STOP", started=START - 2 * HOUR_MS, expires=START + 4 * HOUR_MS)
    books.use("i", 25_000)
    books.release("i", sent_at=START + 599 * SECOND)
    assert books.cut(released_only=True) == (2, 0)
    assert [(r.relate_pkg_instance, r.quantity) for r in books.records()] == [
        ("a", 10_000),
        ("b", 10_000),
    ]
    assert books.buckets() == {"unbillable": 5000}
    books.audit()
