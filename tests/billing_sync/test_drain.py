"""From Redis to the ledger, on a real Valkey: whole, once, and by as many control planes as like."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine, event
from sqlmodel import select

from billing_sync.drain import Drainer
from billing_sync.finding_models import Salvage
from billing_sync.models import Checkpoint, Drain, PackageUse, UsageWindow
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringError, MeteringUnavailable, NodeUnavailable, WriteUnknown
from metering.partitions import drain_key, live_key
from metering.protocol import Head
from metering.usage import Grade
from metering.windows import HOUR_MS, Window, window_of
from tests.billing_sync.books import METER, START, Books
from tests.billing_sync.lanes import Lane
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

PARTITIONS = 3


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    return Lane(redis)


def drainer_of(engine: Engine, counters: Counters, ids: Ids | None = None) -> Drainer:
    return Drainer(engine, counters, {}, FakeClock(START), ids or Ids("drain"))


@pytest.fixture
async def drainer(engine: Engine, redis: Redis) -> Drainer:
    """A control plane that has set its partitions up."""
    ledger.set_up(engine, PARTITIONS, Ids())
    made = drainer_of(engine, Counters(redis))
    await made.drain_all(PARTITIONS)
    return made


def in_ledger(engine: Engine) -> int:
    with reading(engine) as session:
        return ledger.totals(session).get(METER, 0)


def rows(engine: Engine, table: type[Any]) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)))


async def test_what_was_counted_is_in_the_ledger_and_gone_from_redis(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """With the lane's position as checkpoint, and the drain in the chain."""
    await lane.count(1, 5)
    await lane.count(1, 7)
    await lane.count(2, 1)
    assert await drainer.drain_all(PARTITIONS) == {0, 1, 2}
    assert in_ledger(engine) == 13
    assert {(c.partition, c.position) for c in rows(engine, Checkpoint)} == {(1, 2), (2, 1)}
    assert await redis.exists(drain_key(1), drain_key(2)) == 0
    live, _ = await Counters(redis).read(1)
    assert live is not None
    assert live.deltas == {}
    assert (drainer.drains, drainer.rows) == (2, 2)


async def test_nothing_counted_is_nothing_written(
    drainer: Drainer, engine: Engine, redis: Redis
) -> None:
    """An idle partition costs no transaction and no drain."""
    begun: list[str] = []
    event.listen(engine, "begin", lambda connection: begun.append("begin"))
    assert await drainer.drain_all(PARTITIONS) == {0, 1, 2}
    assert len(begun) == 1  # to look
    assert rows(engine, Drain) == []


async def test_the_first_visit_starts_an_epoch(engine: Engine, redis: Redis) -> None:
    """An empty Redis is set up by the control plane, not by a gateway."""
    ledger.set_up(engine, 1, Ids())
    drainer = drainer_of(engine, Counters(redis))
    assert await drainer.drain_all(1) == {0}
    assert (drainer.resets, drainer.last_reset_ms) == (1, START)
    with reading(engine) as session:
        place = ledger.place(session, 0)
    head = await Counters(redis).head(0)
    assert (head.epoch, head.last) == place


async def test_an_emptied_redis_starts_again_at_the_checkpoints(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """What was committed stays, what was not is asked for again."""
    await lane.count(0, 5)
    await drainer.drain_all(PARTITIONS)
    await lane.count(0, 6)
    await redis.flushall()
    await drainer.drain_all(PARTITIONS)
    assert in_ledger(engine) == 5
    lane.places.clear()
    await lane.count(0, 6)  # the lane replays what follows its checkpoint
    assert lane.places[0][1] == 2
    await drainer.drain_all(PARTITIONS)
    assert in_ledger(engine) == 11


async def test_a_reset_keeps_what_redis_held(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """As a salvage row, for a person to look at."""
    await lane.count(0, 6)
    await redis.hset(live_key(0), "epoch", "another master's")
    await drainer.drain_all(PARTITIONS)
    (row,) = rows(engine, Salvage)
    assert (row.partition, row.at) == (0, START)
    assert METER in row.content
    assert in_ledger(engine) == 0


class Dying(Counters):
    """Dies at the n-th call, before it or after it was done."""

    def __init__(self, redis: Redis, calls: int, *, done: bool) -> None:
        super().__init__(redis)
        self.calls = calls
        self.done = done

    async def _run(self, name: str, keys: list[str], arguments: Sequence[str | bytes]) -> Any:
        self.calls -= 1
        if self.calls < 0 and not self.done:
            raise MeteringUnavailable("killed")
        answer = await super()._run(name, keys, arguments)
        if self.calls < 0:
            raise MeteringUnavailable("killed")
        return answer


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("calls", range(8))
async def test_killed_between_any_two_steps(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis, calls: int, done: bool
) -> None:
    """The next control plane finishes what the last one began, and nothing is counted twice."""
    await lane.count(0, 5)
    dying = drainer_of(engine, Dying(redis, calls, done=done))
    await dying.drain_all(1)
    assert isinstance(dying.failure, MeteringUnavailable)
    await lane.count(0, 7)
    assert await drainer.drain(0)
    assert in_ledger(engine) == 12
    assert drainer.resets == PARTITIONS


async def test_killed_inside_the_transaction(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """Usage, checkpoints and chain are one: either all of it stands or nothing."""

    class Broken(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise RuntimeError("the power went")

    books = Books.__new__(Books)  # only to buy
    books.engine, books.catalogue = engine, {}
    books.buy("i", "TOKENS")
    await lane.count(0, 5, instance_id="i")
    broken = Drainer(engine, Counters(redis), Broken(), FakeClock(START), Ids("x"))
    assert await broken.drain_all(1) == set()
    assert broken.stuck == {0}
    for table in (UsageWindow, Checkpoint, Drain, PackageUse):
        assert rows(engine, table) == []
    assert await drainer.drain_all(PARTITIONS) == {0, 1, 2}
    assert in_ledger(engine) == 5


class Meanwhile(Counters):
    """Lets another control plane act right before or after each look at the lineage."""

    def __init__(self, redis: Redis, act: Callable[[], Awaitable[object]], *, before: bool) -> None:
        super().__init__(redis)
        self.act = act
        self.before = before

    async def head(self, partition: int) -> Any:
        if self.before:
            await self.act()
        head = await super().head(partition)
        if not self.before:
            await self.act()
        return head


@pytest.mark.parametrize("before", [False, True])
async def test_another_control_plane_in_between(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis, before: bool
) -> None:
    """Two of them at the same partition never take each other's progress for a loss."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        turns += 1
        if turns <= 4:
            await lane.count(0, 1)
            await drainer.drain(0)

    slow = drainer_of(engine, Meanwhile(redis, other, before=before), Ids("slow"))
    await lane.count(0, 100)
    await slow.drain_all(1)
    await drainer.drain(0)
    assert slow.resets == 0
    assert drainer.resets == PARTITIONS
    assert in_ledger(engine) == 100 + min(turns, 4)


async def test_usage_that_keeps_coming_ends_the_visit(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """A visit takes what there was at its start, in one drain; the rest is the next visit's."""

    async def busy() -> None:
        await lane.count(0, 1)

    busy_drainer = drainer_of(engine, Meanwhile(redis, busy, before=False), Ids("busy"))
    await lane.count(0, 100)
    assert await busy_drainer.drain(0)
    assert busy_drainer.drains == 1
    assert in_ledger(engine) >= 100


async def test_an_unreadable_partition_holds_no_other_up(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """It is left as it is, named, and taken up again when somebody has mended it."""
    await lane.count(0, 5)
    await lane.count(1, 7)
    await redis.hset(live_key(0), "d\x1fnonsense", 1)
    for _ in range(2):
        assert await drainer.drain_all(PARTITIONS) == {1, 2}
    assert drainer.stuck == {0}
    assert in_ledger(engine) == 7
    await redis.hdel(drain_key(0), "d\x1fnonsense")
    assert await drainer.drain_all(PARTITIONS) == {0, 1, 2}
    assert drainer.stuck == set()
    assert in_ledger(engine) == 12


class Patchy(Counters):
    """Some partitions of it cannot be reached. `asked` are those that were looked at."""

    def __init__(self, redis: Redis, away: set[int], failure: MeteringError) -> None:
        super().__init__(redis)
        self.away = away
        self.failure = failure
        self.asked: list[int] = []

    async def heads(self, partitions: Sequence[int]) -> dict[int, Head]:
        return {}  # they are asked for one by one

    async def head(self, partition: int) -> Any:
        self.asked.append(partition)
        if partition in self.away:
            raise self.failure
        return await super().head(partition)


class Asked(Counters):
    """Remembers which partitions were asked for by themselves."""

    asked: tuple[int, ...] = ()

    async def head(self, partition: int) -> Head:
        self.asked += (partition,)
        return await super().head(partition)


async def test_partitions_at_rest_are_asked_in_one_go(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """Those in which something is to be done by themselves."""
    asking = drainer_of(engine, counters := Asked(redis))
    assert await asking.drain_all(PARTITIONS) == {0, 1, 2}
    counters.asked = ()
    assert await asking.drain_all(PARTITIONS) == {0, 1, 2}
    assert counters.asked == ()
    await lane.count(1, 5)
    assert await asking.drain_all(PARTITIONS) == {0, 1, 2}
    assert set(counters.asked) == {1}
    assert in_ledger(engine) == 5


UNKNOWN = WriteUnknown("Redis did not answer in time")


async def test_a_part_of_redis_that_is_away_stops_no_other(engine: Engine, redis: Redis) -> None:
    """What can be reached is drained, what cannot is left out and said."""
    ledger.set_up(engine, PARTITIONS, Ids())
    drainer = drainer_of(engine, Patchy(redis, {1}, UNKNOWN))
    assert await drainer.drain_all(PARTITIONS) == {0, 2}
    assert drainer.failure is UNKNOWN
    assert drainer.stuck == set()
    lane = Lane(redis)
    await lane.count(2, 7)
    assert await drainer.drain_all(PARTITIONS) == {0, 2}
    assert in_ledger(engine) == 7
    drainer.counters.away.clear()  # type: ignore[attr-defined]
    assert await drainer.drain_all(PARTITIONS) == {0, 1, 2}
    assert drainer.failure is None


async def test_a_redis_that_is_away_costs_a_few_time_outs(engine: Engine, redis: Redis) -> None:
    """And in the end every partition has been tried, those that answer in each run."""
    ledger.set_up(engine, 40, Ids())
    patchy = Patchy(redis, set(range(40)), UNKNOWN)
    drainer = drainer_of(engine, patchy)
    for _ in range(14):
        before = len(patchy.asked)
        assert await drainer.drain_all(40) == set()
        assert len(patchy.asked) - before <= 3
    assert set(patchy.asked) == set(range(40))
    patchy.away = set(range(0, 40, 2))  # one of two nodes is back
    drained: set[int] = set()
    for _ in range(20):
        drained |= await drainer.drain_all(40)
    assert drained == set(range(1, 40, 2))
    assert await drainer.drain_all(40) == drained


async def test_a_node_that_is_known_to_be_away_costs_nothing(engine: Engine, redis: Redis) -> None:
    """Its partitions fail at once, so all the others are still visited in the same run."""
    ledger.set_up(engine, 20, Ids())
    gone = NodeUnavailable("10.0.0.1:6379 of the cluster does not answer")
    drainer = drainer_of(engine, Patchy(redis, set(range(12)), gone))
    assert await drainer.drain_all(20) == set(range(12, 20))
    assert drainer.failure is gone


async def test_usage_of_a_closed_window_is_late(
    drainer: Drainer, lane: Lane, engine: Engine, redis: Redis
) -> None:
    """It is booked in the window of now, beside what belongs there, and keeps its own as origin."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"update partition set closed_through = {START}")
    await lane.count(0, 5, window=window_of(START) - 1)
    await lane.count(0, 6)
    await lane.count(0, 7, window=window_of(START) + 3)
    await drainer.drain_all(PARTITIONS)
    found = {(r.window, r.mark, r.origin): r.quantity for r in rows(engine, UsageWindow)}
    now = window_of(START)
    assert found == {(now, "", now): 6, (now, "late", now - 1): 5, (now, "clock", now + 3): 7}


def test_one_commit_deducts_in_order_and_within_the_balance(engine: Engine) -> None:
    """Several rows of one drain share the package's balance, the oldest window first."""
    books = Books(engine)
    books.buy("i")
    books.buy("j")
    books.buy("pack", "STOP", started=START - HOUR_MS)
    now = window_of(books.clock.now_ms())
    key = DeltaKey(now, "cust-1", "i", "chat", METER, Grade.EXACT)
    books.drain(
        {
            key: 4000,
            key._replace(route="images"): 4000,
            key._replace(instance_id="j"): 4000,
            key._replace(window=Window(now - 1)): 1000,
            key._replace(meter="requests"): 999,  # charged, but not what the package is for
            key._replace(instance_id="stranger"): 5,
            key._replace(instance_id=""): 13_000,
        }
    )
    found = {
        (r.package_id, r.instance_id, r.window - now): r.quantity for r in books.all(PackageUse)
    }
    assert found == {
        ("pack", "i", -1): 1000,
        ("pack", "i", 0): 8000,
        ("pack", "j", 0): 1000,
        ("!overshoot", "j", 0): 3000,
    }


def test_deduction_asks_once_per_customer_and_item(engine: Engine) -> None:
    """However many rows a drain has, the packages are read a bounded number of times."""
    books = Books(engine)
    books.buy("i")
    books.buy("pack", "PACK")
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    now = window_of(books.clock.now_ms())
    key = DeltaKey(now, "cust-1", "i", "chat", METER, Grade.EXACT)
    event.listen(engine, "before_cursor_execute", note)
    books.drain({key._replace(route=f"route-{n}"): 10 for n in range(200)})
    event.remove(engine, "before_cursor_execute", note)
    assert len(asked) < 23
    assert [row.quantity for row in books.all(PackageUse)] == [2000]


@pytest.mark.parametrize(
    ("columns", "counts"),
    [
        ({}, True),
        ({"status": "frozen"}, False),
        ({"status": "released"}, False),
        ({"expires": START}, False),
        ({"expires": START + HOUR_MS}, True),
        ({"customer_id": "somebody-else"}, False),
        ({"product_id": "UNHEARD-OF"}, False),
    ],
)
def test_only_a_usable_package_gives(engine: Engine, columns: dict[str, Any], counts: bool) -> None:
    """The buyer's own, active, not expired, of a product that covers the item."""
    books = Books(engine)
    books.buy("i")
    books.buy("pack", "PACK")
    books.change("pack", **columns)
    books.use("i", 4000)
    assert bool(books.all(PackageUse)) is counts
