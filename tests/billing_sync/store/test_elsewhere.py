"""What the Agents gateway charges and no instance was named for, on real SQL."""

import pytest
from sqlalchemy import Engine

from billing_sync.models import Bucket, UsageWindow
from billing_sync.store import elsewhere
from billing_sync.store.balancing import holdings, instance_ids
from billing_sync.store.engine import reading, writing
from metering.catalogue import agents_account
from metering.usage import Grade
from tallygate.reconciliation.balance import balance
from tallygate.reconciliation.terms import EVERYTHING
from tests.billing_sync.books import HOUR, METER, Books

ACCOUNT = agents_account("TOKENS", "cust-1")


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def audit(books: Books) -> None:
    """Nothing is missing anywhere, by the reconciliation's own rules."""
    with reading(books.engine) as session:
        for holding in holdings(session, instance_ids(session, "")):
            found = balance(holding, EVERYTHING)
            assert (found.difference, list(found.differences)) == (0, [])


def test_a_close_names_it(books: Books) -> None:
    """All routes, meters and grades of the hour; no record is made, and nobody waits for it."""
    books.use(ACCOUNT, 1000)
    books.use(ACCOUNT, 30, route="images")
    books.use(ACCOUNT, 4, grade=Grade.PARTIAL)
    books.use(ACCOUNT, 2, meter="requests")
    assert books.buckets(ACCOUNT) == {}
    books.to_the_next_hour()
    assert books.close() == (0, 0)
    assert books.buckets(ACCOUNT) == {"agents_gateway": 1036}
    assert (books.unrecorded(ACCOUNT), books.records(ACCOUNT)) == (0, [])
    audit(books)


def test_the_hour_that_is_open_waits(books: Books) -> None:
    """And late usage of one that is closed is named by the next close."""
    books.use(ACCOUNT, 1000)
    books.to_the_next_hour()
    books.use(ACCOUNT, 5)
    books.close()
    assert books.buckets(ACCOUNT) == {"agents_gateway": 1000}
    books.use(ACCOUNT, 7, window=HOUR)
    books.to_the_next_hour()
    books.close()
    assert books.buckets(ACCOUNT) == {"agents_gateway": 1012}
    assert books.unrecorded(ACCOUNT) == 0
    audit(books)


def test_records_of_others_are_made_beside_it(books: Books) -> None:
    """The same customer's key is charged by the merchant, and nothing is suspense."""
    books.buy("i")
    books.use("i", 500)
    books.use("", 1500)
    books.use(ACCOUNT, 1000)
    books.to_the_next_hour()
    assert books.close() == (1, 0)
    assert [record.quantity for record in books.records()] == [500]
    audit(books)


def test_more_than_a_page_takes_several_transactions(books: Books) -> None:
    """A page of four rows, and rows of one place are never torn apart."""
    for customer in range(9):
        account = agents_account("TOKENS", f"c{customer}")
        for route in ("chat", "images", "plain"):
            books.use(account, 10, customer_id=f"c{customer}", route=route)
    books.to_the_next_hour()
    closer = books._closer()
    small = type(closer)(closer.engine, closer.catalogue, rows=4)
    now_ms = books.clock.now_ms()
    small.close(0, through_ms=now_ms // 3_600_000 * 3_600_000, now_ms=now_ms)
    assert {row.quantity for row in books.all(Bucket)} == {30}
    assert len(books.all(Bucket)) == 9
    assert all(row.recorded == row.quantity for row in books.all(UsageWindow))
    audit(books)


def test_a_close_that_was_killed_behind_a_page_is_made_up_for(books: Books) -> None:
    """What was named then is not named again."""
    for customer in range(9):
        books.use(agents_account("TOKENS", f"c{customer}"), 10, customer_id=f"c{customer}")
    with writing(books.engine) as session:
        assert elsewhere.put_away(session, 0, HOUR, 4)
    books.to_the_next_hour()
    books.close()
    assert [row.quantity for row in books.all(Bucket)] == [10] * 9
    audit(books)


@pytest.mark.parametrize(
    "name", ["agents_gatewayX/TOKENS/c", "xagents_gateway/T/c", "agents_gateway"]
)
def test_only_accounts_are_named(books: Books, name: str) -> None:
    """An instance of nearly that name waits until it is known."""
    books.use(name, 1000, meter=METER)
    books.to_the_next_hour()
    books.close()
    assert (books.buckets(name), books.unrecorded(name)) == ({}, 1000)
