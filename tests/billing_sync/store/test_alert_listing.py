"""Alerts as they are listed and counted."""

from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.alerts import AlertTerms
from billing_sync.asking import Page
from billing_sync.errors import BadQuestion
from billing_sync.store import alert_listing as store
from billing_sync.store.engine import reading
from tests.billing_sync.books import Books
from tests.billing_sync.hooks import NOWHERE, selling


@pytest.fixture
def books(engine: Engine) -> Books:
    return selling(engine, NOWHERE)


def test_lists_go_page_by_page(books: Books, engine: Engine) -> None:
    """In the order in which they were raised, also within one millisecond."""
    books.alerts = AlertTerms(tuple(range(1, 101)))
    books.use("i", 5_000)
    books.clock.advance(ms=1)
    books.use("i", 5_000)
    page, found = Page(None, None, None, None, 7), []
    while True:
        with reading(engine) as session:
            rows = store.listed(session, page)
        found += rows
        if not rows:
            break
        page = page._replace(after=rows[-1]["id"])
    assert len({row["id"] for row in found}) == len(found) == 100
    assert [row["at"] for row in found] == sorted(row["at"] for row in found)
    assert all(row["deliveries"] == [] for row in found)
    with reading(engine) as session, pytest.raises(BadQuestion):
        store.listed(session, page._replace(after="nothing"))


def test_lists_of_a_customer_a_package_and_a_state(books: Books, engine: Engine) -> None:
    """Each alone, and none where nothing fits."""
    books.use("i", 8_000)

    def count(**asked: Any) -> int:
        given = {"customer_id": None, "instance_id": None, "state": None, "after": None, "limit": 9}
        with reading(engine) as session:
            return len(store.listed(session, Page(**(given | asked))))

    assert count() == count(customer_id="cust-1") == count(instance_id="pack") == 1
    assert count(state="pending") == 1
    assert count(customer_id="cust-2") == count(instance_id="i") == count(state="sent") == 0


def test_how_alerts_stand(books: Books, engine: Engine) -> None:
    """By threshold, by state, and since when the oldest waits."""
    with reading(engine) as session:
        assert store.standing(session) == store.Standing({}, {}, 0)
    books.use("i", 8_000)
    at = books.clock.now_ms()
    books.clock.advance(ms=5)
    books.use("i", 1_500)
    with reading(engine) as session:
        assert store.standing(session) == store.Standing({80: 1, 95: 1}, {"pending": 2}, at)
