"""The ledger held against the push log: billing stops, is said once, and goes on."""

import logging

import pytest
from sqlalchemy import Engine, event

from billing_sync.halting import Halt
from billing_sync.models import PushClaim
from billing_sync.push_entries import Claimed
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from billing_sync.store.stops import Stop
from tests.billing_sync.books import START, Books
from tests.billing_sync.pushing import log_of
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


def halt_of(engine: Engine) -> Halt:
    return Halt(engine, log_of(engine), FakeClock(START))


async def test_a_known_claim_is_fine(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """And costs one look at the ledger, which locks nobody out."""
    log_of(engine).append(Claimed("c", START, ()), durable=True)
    with writing(engine) as session:
        session.add(PushClaim(id="c", at=START))
    halt = halt_of(engine)
    begun: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _x, sql, *_: begun.append(sql))
    assert await halt.look() is None
    assert not any("IMMEDIATE" in sql for sql in begun)
    assert caplog.records == []


async def test_an_unknown_claim_stops_until_it_is_known(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Said when it begins and when it ends, with what to do."""
    log_of(engine).append(Claimed("c", START, ()), durable=True)
    halt = halt_of(engine)
    with caplog.at_level(logging.INFO, logger="tallygate"):
        for _ in range(3):
            found = await halt.look()
            assert found is not None
            assert "never seen" in found.reason
        with writing(engine) as session:
            session.add(PushClaim(id="c", at=START))
            stops.lift(session)
        for _ in range(2):
            assert await halt.look() is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "`tallygate recover`" in caplog.messages[0]


def test_the_first_reason_stands(engine: Engine) -> None:
    """Until it is lifted."""
    with writing(engine) as session:
        assert stops.stopped(session) is None
        stops.stop(session, "one", 1)
        stops.stop(session, "two", 2)
    with writing(engine) as session:
        assert stops.stopped(session) == Stop("one", 1)
        assert not stops.may_bill(session, "", 3)
        stops.lift(session)
        stops.lift(session)
        assert stops.may_bill(session, "", 3)


def test_nothing_is_closed_or_cut_while_it_is_stopped(engine: Engine) -> None:
    """Records made now would have other intervals than those that were pushed; the usage waits."""
    books = Books(engine)
    books.buy("i")
    books.use("i", 1000)
    with writing(engine) as session:
        stops.stop(session, "set back", START)
    books.to_the_next_hour()
    assert books.close() is None
    assert books.cut() == (0, 0)
    assert books.records() == []
    assert (books.closed_through(), books.unrecorded()) == (0, 1000)
    with writing(engine) as session:
        stops.lift(session)
    assert books.close() == (1, 0)


@pytest.mark.parametrize("cut", [False, True])
def test_the_close_itself_finds_the_claim_unknown(engine: Engine, cut: bool) -> None:
    """In the very transaction that would have made records."""
    books = Books(engine)
    books.buy("i")
    books.use("i", 1000)
    books.to_the_next_hour()
    books.newest_claim = "never made here"
    assert (books.cut() == (0, 0)) if cut else (books.close() is None)
    assert books.records() == []
    with reading(engine) as session:
        assert stops.stopped(session) is not None
