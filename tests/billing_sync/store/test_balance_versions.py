"""Versions of balances: raised with what changes them, due until they were told."""

import pytest
from sqlalchemy import Engine

from billing_sync.balance_models import BalanceVersion
from billing_sync.store import balance_versions, ledger, lendable, package_totals, projections
from billing_sync.store.balance_versions import Due
from billing_sync.store.engine import reading, writing
from billing_sync.store.package_totals import Given
from metering.lending import Balance, Part, account_of
from tests.billing_sync.books import START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def due(books: Books) -> list[tuple[str, int]]:
    with reading(books.engine) as session:
        assert balance_versions.due(session) == balance_versions.due(session, 0)
        return [(one.customer_id, one.version) for one in balance_versions.due(session)]


def raise_for(books: Books, *customers: str) -> None:
    with writing(books.engine) as session:
        balance_versions.raise_of_customers(session, customers)


def tell(books: Books, version: int, epoch: str = "") -> None:
    with writing(books.engine) as session:
        here = epoch or ledger.place(session, 0).epoch
        balance_versions.were_told(session, [Due("cust-1", 0, version, here)])


def test_a_version_grows_with_every_change(books: Books) -> None:
    """Of customers with packages: what is given, a callback, a ledger that was set back."""
    books.buy("i")
    books.buy("pack", "PACK")
    books.buy("j", customer_id="cust-2")
    raise_for(books, "cust-1", "cust-2", "nobody")
    assert due(books) == [("cust-1", 1)]
    with writing(books.engine) as session:
        package_totals.give(session, [Given("pack", "i", "TOKENS", 1, 5)])
        projections.enqueue(session, "cust-1", START)
    assert due(books) == [("cust-1", 3)]
    with writing(books.engine) as session:
        balance_versions.raise_above(session, "cust-1", 90)
        balance_versions.raise_above(session, "cust-1", 7)
        balance_versions.raise_above(session, "cust-2", 7)
    assert due(books) == [("cust-1", 92), ("cust-2", 8)]


def test_what_was_told_is_no_longer_due(books: Books) -> None:
    """Unless it was raised meanwhile, or the partition has another epoch since."""
    books.buy("pack", "PACK")
    raise_for(books, "cust-1")
    raise_for(books, "cust-1")
    tell(books, 1)
    assert due(books) == [("cust-1", 2)]
    tell(books, 2)
    tell(books, 1)  # by somebody slow
    assert due(books) == []
    with writing(books.engine) as session:
        ledger.begin_epoch(session, 0, epoch="next", at=START, reason="a test")
    assert due(books) == [("cust-1", 2)]
    tell(books, 2)
    assert due(books) == []
    tell(books, 2, epoch="before")  # by somebody very slow: it is told once more
    assert due(books) == [("cust-1", 2)]


def test_packages_from_before_there_were_versions(books: Books) -> None:
    """They are raised once."""
    books.buy("pack", "PACK")
    books.buy("i", customer_id="cust-2")
    for _ in range(2):
        with writing(books.engine) as session:
            balance_versions.raise_missing(session)
    assert due(books) == [("cust-1", 1)]
    assert len(books.all(BalanceVersion)) == 1


def test_a_snapshot_holds_a_version_and_what_belongs_to_it(books: Books) -> None:
    """Also for customers of whom nothing is known."""
    books.buy("i")
    books.buy("stop", "STOP", linear_value=3)
    books.buy("over", "STOP-2", expires=START + 1)
    books.use("i", 4_000)
    with reading(books.engine) as session:
        found = lendable.of_customers(
            session, ["cust-1", "cust-2"], books.catalogue, books.clock.now_ms()
        )
    parts = (Part("over", 10_000, 10_000, START + 1), Part("stop", 30_000, 26_000, 0))
    now_ms = books.clock.now_ms()
    assert found == {
        "cust-1": [Balance(account_of("cust-1", "TOKENS"), 1, now_ms, parts)],
        "cust-2": [],
    }
