"""Several control planes on one ledger at once: nothing is recorded or pushed twice, nobody fails.

Each has connections of its own. On SQLite they take turns; on PostgreSQL they really meet.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import anyio
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.booking import UsageRow
from billing_sync.closing import Closer
from billing_sync.drain import Drainer
from billing_sync.finding_models import FindingRow
from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import (
    CustomerRow,
    Instance,
    LifecycleInbox,
    Meta,
    Partition,
    ProjectionOutbox,
    PushClaim,
    UsageRecord,
)
from billing_sync.outbox import LEASE_MS
from billing_sync.parts import new_id
from billing_sync.push_entries import Claimed
from billing_sync.recovery import recover
from billing_sync.runner import Runner
from billing_sync.store import customers, findings, ledger, lifecycle, outbox, stops
from billing_sync.store.ahead import Booked
from billing_sync.store.customers import StaticCustomer
from billing_sync.store.engine import reading, writing
from billing_sync.store.lifecycle import Purchase
from billing_sync.store.projections import enqueue
from billing_sync.store.worker import SqlWorker
from metering.counters import Counters
from metering.findings import Finding
from metering.usage import Grade
from tests.billing_sync.books import CATALOGUE, HOUR, METER, START
from tests.billing_sync.lanes import Lane
from tests.billing_sync.pushing import log_of
from tests.billing_sync.recoveries import Plane
from tests.billing_sync.test_outbox import fill
from tests.databases import Database
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

MANY = 6
T = TypeVar("T")


@pytest.fixture
def engines(database: Database) -> Iterator[list[Engine]]:
    """The ledger as each of several processes has it open."""
    with ExitStack() as stack:
        opened = [database.open() for _ in range(MANY)]
        for each in opened:
            stack.callback(each.dispose)
        yield opened


def at_once(engines: list[Engine], job: Callable[[Engine, int], T]) -> list[T]:
    """What each makes of the job; all begin at the same moment."""
    gate = threading.Barrier(len(engines))

    def begin(number: int) -> T:
        with reading(engines[number]) as session:  # its connection is there before the start
            session.exec(select(Meta)).all()
        gate.wait()
        return job(engines[number], number)

    with ThreadPoolExecutor(len(engines)) as pool:
        return list(pool.map(begin, range(len(engines))))


def everything(engine: Engine, table: type[Any]) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)))


def test_the_first_start(engines: list[Engine]) -> None:
    """One sets the ledger up; whoever is told another number of partitions is refused."""

    def start(engine: Engine, number: int) -> str:
        try:
            ledger.set_up(engine, 8 if number % 2 else 4, iter(new_id, ""))
        except ledger.PartitionsDiffer:
            return "refused"
        return "up"

    assert sorted(at_once(engines, start)) == ["refused"] * (MANY // 2) + ["up"] * (MANY // 2)
    assert len(everything(engines[0], Partition)) in (4, 8)


def test_static_customers(engines: list[Engine]) -> None:
    """All of them say the same."""
    ledger.set_up(engines[0], 2, iter(new_id, ""))
    names = [f"c{number}" for number in range(20)]

    def tell(engine: Engine, number: int) -> None:
        order = names if number % 2 else names[::-1]
        static = [StaticCustomer(name, name, [(f"i-{name}", "TOKENS")]) for name in order]
        with writing(engine) as session:
            customers.upsert_static(session, static, CATALOGUE, START)

    at_once(engines, tell)
    assert sorted(row.id for row in everything(engines[0], CustomerRow)) == sorted(names)
    assert len(everything(engines[0], Instance)) == len(names)
    assert {row.since for row in everything(engines[0], ProjectionOutbox)} == {START + MANY - 1}


def test_notices_for_one_customer(engines: list[Engine]) -> None:
    """None is lost, the first ones neither."""

    def change(engine: Engine, _: int) -> None:
        for _ in range(20):
            with writing(engine) as session:
                enqueue(session, "c", START)

    at_once(engines, change)
    (row,) = everything(engines[0], ProjectionOutbox)
    assert row.since == START + 20 * MANY - 1


def test_findings_are_counted_once(engines: list[Engine]) -> None:
    """By whoever was first with each."""
    found = [Finding("uncertain", "lane", "host", START, request_id=f"r{n}") for n in range(50)]

    def take(engine: Engine, _: int) -> int:
        with writing(engine) as session:
            return findings.insert(session, found)

    assert sum(at_once(engines, take)) == 50
    assert len(everything(engines[0], FindingRow)) == 50


def test_one_stop(engines: list[Engine]) -> None:
    """Whoever finds the ledger set back says so, and nobody stumbles over another who does."""
    ledger.set_up(engines[0], MANY, iter(new_id, ""))

    def close(engine: Engine, number: int) -> object:
        closer = Closer(engine, CATALOGUE)
        return closer.close(number, through_ms=START, now_ms=START, newest_claim="nobody's")

    assert at_once(engines, close) == [None] * MANY
    with reading(engines[0]) as session:
        assert stops.stopped(session) is not None


def test_a_stop_does_not_outlive_the_recovery(engines: list[Engine]) -> None:
    """Whoever looks at the log while it is being recovered does not stop billing again."""
    ledger.set_up(engines[0], 2, iter(new_id, ""))
    log = log_of(engines[0])
    for turn in range(8):
        log.append(Claimed(f"c{turn}", START, ()), durable=True)

        def one_of_them(engine: Engine, number: int, claim: str = f"c{turn}") -> None:
            if number == 0:
                recover(engine, log, CATALOGUE, START)
                return
            with writing(engine) as session:
                stops.may_bill(session, claim, START)

        at_once(engines, one_of_them)
        with reading(engines[0]) as session:
            assert stops.stopped(session) is None


def test_every_record_is_claimed_once(engines: list[Engine]) -> None:
    """By one of them, in batches of their own, whatever the order in which they come."""
    serials = fill(engines[0], 300)

    def claim(engine: Engine, number: int) -> list[str]:
        mine: list[str] = []
        for turn in range(1000):
            with writing(engine) as session:
                batch = outbox.claim(
                    session,
                    f"{number}-{turn}",
                    now_ms=START,
                    until_ms=START + LEASE_MS,
                    limit=7,
                )
            if not batch:
                return mine
            mine += [record.metering_sn for record in batch]
        raise AssertionError("never done")

    claimed = [serial for mine in at_once(engines, claim) for serial in mine]
    assert sorted(claimed) == sorted(serials)
    rows = everything(engines[0], UsageRecord)
    assert {(row.state, row.attempts, row.next_attempt) for row in rows} == {
        ("sending", 1, START + LEASE_MS)
    }
    assert len(everything(engines[0], PushClaim)) >= 300 / 7


def test_every_drain_is_committed_once(engines: list[Engine]) -> None:
    """All of them have the same set-aside in hand; one commits it."""
    ledger.set_up(engines[0], 1, Ids())
    row = UsageRow(HOUR, "c", "i", "r", METER, Grade.EXACT, "", HOUR, 5)
    last = everything(engines[0], Partition)[0].last

    def commit(engine: Engine, number: int) -> int:
        done = 0
        for turn in range(20):
            with writing(engine) as session:
                ledger.partition(session, 0)
                prev = f"d{turn - 1}" if turn else last
                if ledger.advance(session, 0, prev=prev, drain_id=f"d{turn}"):
                    ledger.add_usage(session, 0, [Booked(row)])
                    done += 1
        return done

    assert sum(at_once(engines, commit)) == 20
    with reading(engines[0]) as session:
        assert ledger.totals(session) == {METER: 100}


async def test_one_order_line_one_instance(engines: list[Engine]) -> None:
    """Creations that come twice at once, some with the order known, some without: one instance, one
    key, and each answer names it."""
    order = Order("o", "l", ("TOKENS",), "", "buyer", "Buyer", 0, "{}")

    async def create(engine: Engine, number: int, ids: list[str]) -> None:
        event = LifecycleEvent(
            activity=Activity.NEW,
            event=Event.KNOWN,
            instance_id=f"i{number % 2}",
            order_id="o",
            order_line_id="l",
            sent_at=START,
            body="{}",
        )
        key = MadeKey(f"digest{number}", f"sealed{number}")
        purchase = Purchase(order, "TOKENS", False, key) if number % 3 else None
        job = partial(lifecycle.create, event=event, purchase=purchase, at=START)
        answer = await SqlWorker(engine).write(job)
        ids.append(answer.instance_id)

    ids: list[str] = []
    async with anyio.create_task_group() as group:
        for number, engine in enumerate(engines):
            group.start_soon(create, engine, number, ids)
    (instance,) = everything(engines[0], Instance)
    assert ids == [instance.id] * MANY
    assert len(everything(engines[0], LifecycleInbox)) == 1
    assert len(everything(engines[0], ApiKey)) == 1


async def test_whole_runs(database: Database, redis: Redis) -> None:
    """Drains, closes, cuts and pushes of three control planes at once, with usage coming in: in the
    end each use was recorded and pushed exactly once."""
    plane = Plane(database, redis)
    others = [database.open() for _ in range(2)]
    try:
        for name in "ij":
            plane.books.buy(name)
        plane.books.buy("stop", "STOP")
        plane.books.buy("pack", "PACK", expires=2**50)
        runners = [plane.runner, *(another(plane, engine) for engine in others)]
        for hour in range(4):
            for turn in range(6):
                plane.use("ij"[turn % 2] if hour < 3 else "i", 700 + 13 * turn, lane=turn % 2)
                await plane.flush()
                await together(runners)
                plane.clock.advance(seconds=7)
            plane.books.to_the_next_hour()
            await plane.flush()
            await together(runners)
            if hour == 2:
                plane.books.release("j")
        await plane.come_to_rest()
        plane.audit()
        assert sum(runner.records_made for runner in runners) == len(plane.all(UsageRecord))
        taken = [serial for batch in plane.market.pushed for serial in batch]
        assert sorted(taken) == sorted(plane.market.taken)
    finally:
        for engine in (plane.engine, *others):
            engine.dispose()


def another(plane: Plane, engine: Engine) -> Runner:
    """A control plane with connections of its own."""
    mine, plane.engine = plane.engine, engine
    runner = plane.another_runner()
    plane.engine = mine
    return runner


async def together(runners: list[Runner]) -> None:
    async with anyio.create_task_group() as group:
        for runner in runners:
            group.start_soon(runner.run_once)


async def test_one_poisoned_partition(engine: Engine, redis: Redis) -> None:
    """A name that the database cannot hold keeps its own partition from being drained, no other."""
    ledger.set_up(engine, 2, Ids())
    drainer = Drainer(engine, Counters(redis), {}, FakeClock(START), Ids("d"))
    await drainer.drain_all(2)
    lane = Lane(redis)
    await lane.count(0, 1, customer_id="a\0b")
    await lane.count(1, 1)
    assert 1 in await drainer.drain_all(2)
    assert drainer.stuck == ({0} if engine.dialect.name == "postgresql" else set())


def test_a_finding_with_a_nul(engine: Engine) -> None:
    """Is stored without it."""
    with writing(engine) as session:
        found = Finding("uncertain", "lane", "ho\0st", START, request_id="r")
        assert findings.insert(session, [found]) == 1
    assert [row.host for row in everything(engine, FindingRow)] == ["host"]
