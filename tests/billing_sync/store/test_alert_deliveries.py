"""Deliveries of alerts are claimed by one, settled by who holds the lease, and sent again when asked."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from sqlalchemy import Engine

from billing_sync.alert_models import AlertDelivery
from billing_sync.store import alert_deliveries as store
from billing_sync.store.engine import reading, writing
from tests.billing_sync.books import Books
from tests.billing_sync.hooks import NOWHERE, deliveries, selling, states


@pytest.fixture
def books(engine: Engine) -> Books:
    return selling(engine, NOWHERE)


def test_every_delivery_is_claimed_by_one(engine: Engine) -> None:
    """Four control planes at once; what is tried least and is oldest comes first."""
    books = selling(engine, NOWHERE, thresholds=tuple(range(1, 41)))
    books.use("i", 4_000)
    now_ms = books.clock.now_ms()

    def claim_all() -> list[int]:
        mine: list[int] = []
        while True:
            with writing(engine) as session:
                due = store.claim(session, NOWHERE.name, now_ms=now_ms, until_ms=now_ms + 60_000)
            if due is None:
                return mine
            assert due.attempts == 1
            mine.append(due.alert.threshold)

    with ThreadPoolExecutor(4) as pool:
        claimed = [future.result() for future in [pool.submit(claim_all) for _ in range(4)]]
    assert sorted(chain.from_iterable(claimed)) == list(range(1, 41))
    assert all(mine == sorted(mine) for mine in claimed)
    with reading(engine) as session:
        assert not store.is_due(session, NOWHERE.name, now_ms + 59_999)
        assert store.is_due(session, NOWHERE.name, now_ms + 60_000)


def test_an_outcome_is_written_by_who_holds_the_lease(books: Books, engine: Engine) -> None:
    """Who comes late changes nothing; what was tried more often comes later."""
    books.use("i", 9_500)
    now_ms = books.clock.now_ms()
    taken = []
    for start in (now_ms, now_ms + 100):
        for _ in range(2 if start == now_ms else 1):
            with writing(engine) as session:
                due = store.claim(session, NOWHERE.name, now_ms=start, until_ms=start + 100)
            assert due is not None
            taken.append(due)
    late, other, mine = taken
    assert (late.alert.threshold, other.alert.threshold, mine.alert) == (80, 95, late.alert)
    assert mine.attempts == 2
    with writing(engine) as session:
        assert not store.settle(session, late, state="given_up", error="late")
        assert store.settle(session, mine, state="sent", sent_at=7)
        assert not store.settle(session, mine, state="given_up", error="again")
    assert states(engine) == {80: "sent", 95: "pending"}


def test_what_a_person_sends_again(books: Books, engine: Engine) -> None:
    """An alert by its id wherever it is not delivered, or all that was given up; never what was sent."""
    books.use("i", 10_000)
    with writing(engine) as session:
        for threshold, row in deliveries(engine).items():
            state = {80: "given_up", 95: "sent", 100: "pending"}[threshold]
            changed = {"state": state, "attempts": 10, "next_attempt": 2**60}
            session.merge(AlertDelivery(**(row.model_dump() | changed)))
    ids = {threshold: row.alert_id for threshold, row in deliveries(engine).items()}
    with writing(engine) as session:
        assert store.retry(session, ids[95], 5) == 0
        assert store.retry(session, ids[100], 5) == 1
        assert store.retry(session, None, 6) == 1
        assert store.retry(session, None, 7) == 0
    rows = deliveries(engine)
    assert [(rows[t].state, rows[t].attempts, rows[t].next_attempt) for t in (80, 95, 100)] == [
        ("pending", 0, 6),
        ("sent", 10, 2**60),
        ("pending", 0, 5),
    ]


def test_what_waits_for_a_webhook_nobody_knows(books: Books, engine: Engine) -> None:
    """Is given up once it was due for long; with no webhook at all too."""
    books.use("i", 8_000)
    now_ms = books.clock.now_ms()
    for known, before_ms, given_up in [
        ([NOWHERE.name], now_ms + 1, 0),
        (["another"], now_ms, 0),
        ([], now_ms + 1, 1),
        ([], now_ms + 1, 0),
    ]:
        with writing(engine) as session:
            found = store.has_orphans(session, known, before_ms=before_ms)
            assert found is bool(given_up)
            assert store.abandon(session, known, before_ms=before_ms) == given_up
    assert states(engine) == {80: "given_up"}
