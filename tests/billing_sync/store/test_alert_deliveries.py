"""Deliveries of alerts are claimed by one, settled by who holds the lease, and sent again when asked."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from sqlalchemy import Engine
from sqlmodel import select

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


def given_up_sent_and_pending(books: Books) -> dict[int, str]:
    """80 was given up, 95 is sent, 100 waits for long; their ids."""
    books.use("i", 10_000)
    ids = {}
    with writing(books.engine) as session:
        for threshold, row in deliveries(books.engine).items():
            state = {80: "given_up", 95: "sent", 100: "pending"}[threshold]
            changed = {"state": state, "attempts": 10, "next_attempt": 2**60}
            session.merge(AlertDelivery(**(row.model_dump() | changed)))
            ids[threshold] = row.alert_id
    return ids


def test_what_a_person_sends_again(books: Books, engine: Engine) -> None:
    """What was not delivered, as if it had never been tried; never what was."""
    ids, hooks = given_up_sent_and_pending(books), [NOWHERE.name]
    with writing(engine) as session:
        assert store.given_up(session) == [ids[80]]
        assert store.retry(session, [ids[95]], hooks, 5) == 0
        assert store.retry(session, [ids[100]], hooks, 6) == 1
        assert store.retry(session, store.given_up(session), hooks, 7) == 1
        assert store.given_up(session) == []
    rows = deliveries(engine)
    assert [(rows[t].state, rows[t].attempts, rows[t].next_attempt) for t in (80, 95, 100)] == [
        ("pending", 0, 7),
        ("sent", 10, 2**60),
        ("pending", 0, 6),
    ]


def test_a_webhook_that_was_written_wrong(books: Books, engine: Engine) -> None:
    """Sent again, an alert goes to those that are configured now; without any it stays as it is."""
    ids = given_up_sent_and_pending(books)
    with writing(engine) as session:
        assert store.retry(session, list(ids.values()), [], 5) == 0
    assert states(engine) == {80: "given_up", 95: "sent", 100: "pending"}
    with writing(engine) as session:
        assert store.retry(session, store.given_up(session), ["right/1", "right/2"], 5) == 2
        rows = session.exec(select(AlertDelivery).where(AlertDelivery.alert_id == ids[80])).all()
    assert {row.webhook: row.state for row in rows} == {"right/1": "pending", "right/2": "pending"}
    with writing(engine) as session:
        assert store.retry(session, [ids[95]], ["right/1"], 5) == 1
        rows = session.exec(select(AlertDelivery).where(AlertDelivery.alert_id == ids[95])).all()
    assert {row.webhook: row.state for row in rows} == {"right/1": "pending", NOWHERE.name: "sent"}


def test_what_is_there_already_is_no_failure(books: Books, engine: Engine) -> None:
    """Whatever the locks are worth: a drain is never kept out of the ledger by an alert."""
    books.use("i", 8_000)
    (row,) = deliveries(engine).values()
    with writing(engine) as session:
        store.add(session, [row.alert_id], [NOWHERE.name], 5)
    assert deliveries(engine)[80] == row


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
