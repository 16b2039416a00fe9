"""Records on their way out: claimed, pushed, settled, whoever dies or hangs in between."""

import logging
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, select

from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.usage_push import PushClient
from billing_sync.models import PushClaim, UsageRecord
from billing_sync.outbox import LEASE_MS, Outbox
from billing_sync.push_entries import Claimed, Logged, Settled
from billing_sync.settings import KooGallerySettings
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from tests.billing_sync.books import START
from tests.billing_sync.pushing import ACCEPTED, Judge, Marketplace, log_of, outbox_of
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

AMBIGUOUS = PushOutcome(Kind.AMBIGUOUS, "ReadTimeout", "no answer after sending")
AWAY = PushOutcome(Kind.TRANSIENT, "ConnectError", "was not sent")
REFUSED = PushOutcome(Kind.PERMANENT, "MKT.9001", "not found", blame=Blame.RECORDS)
OURS = PushOutcome(Kind.PERMANENT, "MKT.0154", "illegal token", blame=Blame.CALLER)


def record(serial: str, **columns: Any) -> UsageRecord:
    number = int(serial[1:])
    given: dict[str, Any] = {
        "instance_id": "i",
        "customer_id": "c",
        "product_id": "p",
        "meter": "requests",
        "begin": START + number * 1000,
        "end": START + number * 1000 + 1000,
        "recorded_at": START,
        "quantity": 1,
        "value": "1.0000",
        "window": 1,
        "next_attempt": START,
    }
    return UsageRecord(metering_sn=serial, **(given | columns))


def fill(engine: Engine, count: int, **columns: Any) -> list[str]:
    """Pending records r0, r1, …, the oldest interval first."""
    serials = [f"r{number}" for number in range(count)]
    with writing(engine) as session:
        session.add_all(record(serial, **columns) for serial in serials)
    return serials


def states(engine: Engine) -> dict[str, str]:
    with reading(engine) as session:
        return dict(session.exec(select(UsageRecord.metering_sn, UsageRecord.state)).all())


def one(engine: Engine, serial: str) -> UsageRecord:
    with reading(engine) as session:
        return session.get_one(UsageRecord, serial)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


async def until_empty(outbox: Outbox, clock: FakeClock, seconds: int = 300) -> int:
    """Push once a second, as the loop does; how many seconds it took."""
    for second in range(seconds):
        await outbox.push_due()
        with reading(outbox.engine) as session:
            waiting = select(UsageRecord).where(col(UsageRecord.state).in_(["pending", "sending"]))
            if session.exec(waiting).first() is None:
                return second
        clock.advance(seconds=1)
    raise AssertionError(states(outbox.engine))


async def test_the_oldest_first_a_batch_at_a_time(engine: Engine, clock: FakeClock) -> None:
    """Every due record goes once, in the order of the intervals."""
    serials = fill(engine, 7)
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, batch_size=3)
    assert await outbox.push_due() == 7
    assert market.pushed == [serials[:3], serials[3:6], serials[6:]]
    assert set(states(engine).values()) == {"sent"}
    assert (one(engine, "r0").sent_at, one(engine, "r0").attempts) == (START, 1)
    assert await outbox.push_due() == 0
    assert outbox.outcomes == {"accepted": 3}


async def test_what_is_not_due_or_done_stays(engine: Engine, clock: FakeClock) -> None:
    """Only pending records, and those whose sender is gone."""
    held = ["held", "sent", "collected", "confirmed", "rejected", "expired"]
    with writing(engine) as session:
        for number, state in enumerate(held):
            session.add(record(f"r{number}", state=state))
        session.add(record("r90", next_attempt=START + 1))
        session.add(record("r91", state="sending", next_attempt=START + 1))
    market = Marketplace()
    await outbox_of(engine, market, clock).push_due()
    assert market.pushed == []
    clock.advance(ms=1)
    await outbox_of(engine, market, clock).push_due()
    assert market.pushed == [["r90", "r91"]]


async def test_no_answer_is_asked_again_with_the_same_words(
    engine: Engine, clock: FakeClock
) -> None:
    """Ambiguous records stay `sending`, and what is sent again is the same byte by byte."""
    fill(engine, 1)
    market = Marketplace(lambda _: AMBIGUOUS)
    outbox = outbox_of(engine, market, clock)
    await outbox.push_due()
    assert states(engine) == {"r0": "sending"}
    assert one(engine, "r0").error == "ReadTimeout no answer after sending"
    market.judge = lambda _: ACCEPTED
    clock.advance(seconds=1)
    await outbox.push_due()
    assert states(engine) == {"r0": "sent"}
    assert market.bodies[0] == market.bodies[1]


async def test_a_crash_after_the_claim(engine: Engine, clock: FakeClock) -> None:
    """Nobody touches the records until the lease is over; then they go again, unchanged."""
    fill(engine, 2)
    market = Marketplace()
    market.hang = anyio.Event()
    with anyio.move_on_after(0.2):
        await outbox_of(engine, market, clock).push_due()
    assert set(states(engine).values()) == {"sending"}
    market.hang = None
    clock.advance(ms=LEASE_MS - 1)
    heir = outbox_of(engine, market, clock)
    assert await heir.push_due() == 0
    clock.advance(ms=1)
    assert await heir.push_due() == 2
    assert market.bodies[0] == market.bodies[1]
    assert one(engine, "r0").attempts == 2


@pytest.mark.parametrize("late", [ACCEPTED, REFUSED, AMBIGUOUS, AWAY])
async def test_who_comes_after_his_lease_changes_nothing(
    engine: Engine, clock: FakeClock, late: PushOutcome
) -> None:
    """A process that slept through its lease does not undo what another one settled."""
    fill(engine, 1)
    sleeper = Marketplace(lambda _: late)
    sleeper.hang = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(outbox_of(engine, sleeper, clock).push_due)
        await sleeper.called.wait()
        clock.advance(ms=LEASE_MS)
        assert await outbox_of(engine, Marketplace(), clock).push_due() == 1
        sent = one(engine, "r0")
        sleeper.hang.set()
    assert one(engine, "r0").model_dump() == sent.model_dump()
    assert sent.state == "sent"


async def test_who_comes_after_his_lease_does_not_settle_anothers_push(
    engine: Engine, clock: FakeClock
) -> None:
    """What he learnt too late is not written over a push that is under way."""
    fill(engine, 1)
    sleeper, heir = Marketplace(lambda _: REFUSED), Marketplace()
    sleeper.hang, heir.hang = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as heirs:
        async with anyio.create_task_group() as sleepers:
            sleepers.start_soon(outbox_of(engine, sleeper, clock).push_due)
            await sleeper.called.wait()
            clock.advance(ms=LEASE_MS)
            heirs.start_soon(outbox_of(engine, heir, clock).push_due)
            await heir.called.wait()
            sleeper.hang.set()
        assert states(engine) == {"r0": "sending"}
        heir.hang.set()
    assert states(engine) == {"r0": "sent"}


async def test_two_outboxes_at_once(engine: Engine, clock: FakeClock) -> None:
    """Between them each record goes out once."""
    serials = fill(engine, 60)
    markets = [Marketplace(), Marketplace()]
    async with anyio.create_task_group() as group:
        for market in markets:
            group.start_soon(outbox_of(engine, market, clock, batch_size=4).push_due)
    pushed = [serial for market in markets for batch in market.pushed for serial in batch]
    assert sorted(pushed) == sorted(serials)
    assert set(states(engine).values()) == {"sent"}


def poisoned(*bad: str, answer: PushOutcome) -> Judge:
    """Refuses every batch that holds a bad record, without saying which."""
    return lambda serials: answer if set(bad) & set(serials) else ACCEPTED


async def test_bad_records_are_found_and_rejected(engine: Engine, clock: FakeClock) -> None:
    """A batch refused as a whole is halved until the culprits stand alone, in one go."""
    fill(engine, 100)
    market = Marketplace(poisoned("r0", "r57", answer=REFUSED))
    outbox = outbox_of(engine, market, clock)
    assert await outbox.push_due() == 98
    found = states(engine)
    assert {sn for sn, state in found.items() if state == "rejected"} == {"r0", "r57"}
    assert one(engine, "r57").error == "MKT.9001 not found"
    assert len(market.pushed) < 40
    assert outbox.rejected == 2


@pytest.mark.parametrize("answer", [AMBIGUOUS, PushOutcome(Kind.TRANSIENT, "MKT.0999")])
async def test_a_record_the_marketplace_stumbles_over_holds_nobody_up(
    engine: Engine, clock: FakeClock, answer: PushOutcome
) -> None:
    """It is set apart within a minute; it and no other keeps being tried, alone."""
    fill(engine, 200)
    market = Marketplace(poisoned("r0", answer=answer))
    outbox = outbox_of(engine, market, clock)
    for _ in range(60):
        await outbox.push_due()
        clock.advance(seconds=1)
    assert {sn for sn, state in states(engine).items() if state != "sent"} == {"r0"}
    assert one(engine, "r0").alone
    with writing(engine) as session:
        session.add(record("r900"))
    clock.advance(seconds=60)
    await outbox.push_due()
    assert market.pushed[-2:] == [["r900"], ["r0"]]
    market.judge = lambda _: ACCEPTED
    clock.advance(seconds=60)
    await outbox.push_due()
    assert states(engine)["r0"] == "sent"


async def test_an_outage_is_waited_for(engine: Engine, clock: FakeClock) -> None:
    """Hardly asked while it lasts, and everything is out within seconds of its end."""
    fill(engine, 500)
    market = Marketplace(lambda _: AWAY)
    outbox = outbox_of(engine, market, clock, batch_size=100)
    for _ in range(600):
        await outbox.push_due()
        clock.advance(seconds=1)
    assert len(market.pushed) < 30
    market.judge = lambda _: ACCEPTED
    clock.advance(seconds=60)
    assert await until_empty(outbox, clock) <= 2
    assert set(states(engine).values()) == {"sent"}


async def test_without_keys_records_wait_quietly(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """No access_key: nothing is sent, nothing is rejected, one line is logged, and hardly any SQL
    is run. As soon as there is one everything goes out."""
    fill(engine, 200)
    async with httpx.AsyncClient() as http:
        client = PushClient(http, KooGallerySettings(), clock, lambda: "nonce")
        outbox = outbox_of(engine, client, clock)
        begun: list[str] = []
        event.listen(engine, "begin", lambda connection: begun.append("begin"))
        with caplog.at_level(logging.INFO, logger="tallygate"):
            for _ in range(600):
                await outbox.push_due()
                clock.advance(seconds=1)
    assert set(states(engine).values()) == {"pending"}
    assert [line.getMessage() for line in caplog.records] == [
        "usage records wait to be pushed: permanent: configuration needs koogallery.access_key"
    ]
    assert len(begun) < 50
    clock.advance(seconds=60)
    assert await outbox_of(engine, Marketplace(), clock).push_due() == 200


async def test_our_rights_withdrawn(engine: Engine, clock: FakeClock) -> None:
    """No record is rejected for our keys' sake, and one batch tells enough."""
    fill(engine, 5)
    market = Marketplace(lambda _: OURS)
    outbox = outbox_of(engine, market, clock, batch_size=2)
    await outbox.push_due()
    assert len(market.pushed) == 1
    assert set(states(engine).values()) == {"pending"}
    market.judge = lambda _: ACCEPTED
    assert await until_empty(outbox, clock) <= 3


async def test_trouble_is_said_once(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """When it begins, when it changes, and when it is over."""
    fill(engine, 1)
    answers: Sequence[PushOutcome] = [AWAY, AWAY, AMBIGUOUS, AMBIGUOUS, ACCEPTED]
    left = iter(answers)
    outbox = outbox_of(engine, Marketplace(lambda _: next(left)), clock)
    with caplog.at_level(logging.INFO, logger="tallygate"):
        await until_empty(outbox, clock)
    assert [line.getMessage() for line in caplog.records] == [
        "usage records wait to be pushed: transient: ConnectError was not sent",
        "usage records wait to be pushed: ambiguous: ReadTimeout no answer after sending",
        "the marketplace takes usage records again",
    ]


async def test_waiting_for_others(engine: Engine, clock: FakeClock) -> None:
    """Who must know that all is out waits for what another process is pushing, but not for ever."""
    fill(engine, 1)
    market = Marketplace()
    market.hang = anyio.Event()
    done: list[str] = []

    async def wait() -> None:
        await outbox_of(engine, market, clock).others_done(30)
        done.append("waited")

    async with anyio.create_task_group() as group:
        group.start_soon(outbox_of(engine, market, clock).push_due)
        await market.called.wait()
        await outbox_of(engine, market, clock).others_done(0.1)
        assert states(engine) == {"r0": "sending"}
        group.start_soon(wait)
        await anyio.sleep(0.1)
        assert done == []
        market.hang.set()
    assert done == ["waited"]
    assert states(engine) == {"r0": "sent"}


# --- the push log ---------------------------------------------------------------------------


def logged(engine: Engine) -> list[list[str]]:
    """The serials of each claim in the push log."""
    entries = [line.entry for line in log_of(engine).lines()]
    return [[r.metering_sn for r in e.records] for e in entries if isinstance(e, Claimed)]


async def test_a_batch_is_logged_before_it_is_pushed(engine: Engine, clock: FakeClock) -> None:
    """With all that brings a record back, and its outcome afterwards."""
    serials = fill(engine, 3)
    seen: list[list[list[str]]] = []

    def look(_: list[str]) -> PushOutcome:
        seen.append(logged(engine))
        return ACCEPTED

    await outbox_of(engine, Marketplace(look), clock, batch_size=2).push_due()
    assert seen == [[serials[:2]], [serials[:2], serials[2:]]]
    entries = [line.entry for line in log_of(engine).lines()]
    first = entries[0]
    assert isinstance(first, Claimed)
    columns = one(engine, "r0").model_dump()
    for name in Logged.__struct_fields__:
        assert getattr(first.records[0], name) == columns[name]
    assert [e.accepted for e in entries if isinstance(e, Settled)] == [
        tuple(serials[:2]),
        tuple(serials[2:]),
    ]


async def test_what_is_pushed_again_is_not_logged_again(engine: Engine, clock: FakeClock) -> None:
    """An outage of days does not fill the disk."""
    fill(engine, 2)
    outbox = outbox_of(engine, Marketplace(lambda _: AWAY), clock)
    for _ in range(5):
        await outbox.push_due()
        clock.advance(seconds=61)
    assert logged(engine) == [["r0", "r1"], *[[]] * (len(logged(engine)) - 1)]
    (file,) = log_of(engine).folder.glob("*.jsonl")
    assert len(file.read_bytes().splitlines()[-1]) < 200


async def test_a_disk_that_is_full_keeps_the_batch(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not pushed, nothing is lost, it is said once and tried again."""
    fill(engine, 100)
    market = Marketplace()
    outbox = outbox_of(engine, market, clock)
    folder = outbox.log.folder
    folder.write_text("in the way")
    with caplog.at_level(logging.INFO, logger="tallygate"):
        for _ in range(120):
            await outbox.push_due()
            clock.advance(seconds=1)
    assert market.pushed == []
    assert set(states(engine).values()) == {"pending"}
    assert [line.getMessage() for line in caplog.records] == [
        f"usage records wait to be pushed: transient: push log {folder} cannot be written: "
        "File exists"
    ]
    assert 2 < outbox.outcomes["transient"] < 20
    folder.unlink()
    clock.advance(seconds=60)
    assert await outbox.push_due() == 100


async def test_an_outcome_that_cannot_be_logged_is_no_failure(
    engine: Engine, clock: FakeClock
) -> None:
    """Without it the batch counts as ambiguous, should the ledger be set back."""
    fill(engine, 1)

    def fill_the_disk(_: list[str]) -> PushOutcome:
        log = log_of(engine)
        log.folder.rename(log.folder.with_name("away"))
        log.folder.write_text("in the way")
        return ACCEPTED

    assert await outbox_of(engine, Marketplace(fill_the_disk), clock).push_due() == 1
    assert states(engine) == {"r0": "sent"}


async def test_a_ledger_that_forgot_a_batch_pushes_nothing(
    engine: Engine, clock: FakeClock
) -> None:
    """The claim itself stops billing, whether or not anybody looked before."""
    fill(engine, 1)
    log_of(engine).append(Claimed("of another ledger", START, ()), durable=True)
    market = Marketplace()
    assert await outbox_of(engine, market, clock).push_due() == 0
    assert market.pushed == []
    assert one(engine, "r0").attempts == 0
    with reading(engine) as session:
        assert stops.stopped(session) is not None
    with writing(engine) as session:
        stops.lift(session)
        session.add(PushClaim(id="of another ledger", at=START))
    assert await outbox_of(engine, market, clock).push_due() == 1


# --- what one record may not do to the others -----------------------------------------------


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (REFUSED, 5000),
        (AMBIGUOUS, 500),
        (PushOutcome(Kind.TRANSIENT, "MKT.0999"), 500),
        (PushOutcome(Kind.PERMANENT, "94060999", blame=Blame.RECORDS, abnormal=("r123",)), 500),
        (PushOutcome(Kind.PERMANENT, "94060999", blame=Blame.RECORDS, abnormal=("other",)), 500),
    ],
    ids=["refused", "ambiguous", "transient", "named", "strangers"],
)
async def test_one_poisoned_among_5000(
    engine: Engine, clock: FakeClock, answer: PushOutcome, count: int
) -> None:
    """Whatever the marketplace answers to it: the other four batches are out a second later, the rest
    of its own as it is halved, in some twenty pushes altogether."""
    fill(engine, count)
    batch = count // 5
    market = Marketplace(poisoned("r123", answer=answer))
    outbox = outbox_of(engine, market, clock, batch_size=batch)
    accepted = 0
    for second in range(20):
        accepted += await outbox.push_due()
        assert accepted >= (4 * batch if second else 0)
        clock.advance(seconds=1)
    assert accepted == count - 1
    assert "r123" not in {sn for sn, state in states(engine).items() if state == "sent"}
    assert len(market.pushed) < 40


async def test_too_often_is_waited_for_without_halving(engine: Engine, clock: FakeClock) -> None:
    """Smaller batches would be more of them. As long as the marketplace asks for, and no longer."""
    fill(engine, 300)
    asked = PushOutcome(Kind.TRANSIENT, "MKT.0250", retry_after_s=90.0, blame=Blame.CALLER)
    market = Marketplace(lambda _: asked)
    outbox = outbox_of(engine, market, clock, batch_size=100)
    for _ in range(89):
        await outbox.push_due()
        clock.advance(seconds=1)
    assert [len(batch) for batch in market.pushed] == [100]
    market.judge = lambda _: ACCEPTED
    clock.advance(seconds=1)
    assert await outbox.push_due() == 300
    assert [len(batch) for batch in market.pushed] == [100] * 4


async def test_two_outboxes_with_a_poisoned_record(engine: Engine, clock: FakeClock) -> None:
    """Neither waits for the other, and each record goes out once."""
    fill(engine, 200)
    markets = [Marketplace(poisoned("r50", answer=REFUSED)) for _ in range(2)]
    async with anyio.create_task_group() as group:
        for market in markets:
            group.start_soon(outbox_of(engine, market, clock, batch_size=20).push_due)
    taken = [serial for market in markets for serial in market.taken]
    assert sorted(taken) == sorted(set(states(engine)) - {"r50"})
    assert one(engine, "r50").state == "rejected"
