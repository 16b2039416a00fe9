"""The sync run: its order, what it waits for, and that nothing in it stops the rest."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import anyio.lowlevel
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import Engine, event

from billing_sync.closing import SETTLE_MS
from billing_sync.completeness import complete_through
from billing_sync.drain import Drainer
from billing_sync.models import Drain, Partition
from billing_sync.runner import Runner
from billing_sync.store import stops
from billing_sync.store.engine import writing
from billing_sync.upgrade_models import Upgrade
from metering import findings
from metering.connection import connect_one
from metering.counters import Counters
from metering.errors import MeteringError, MeteringUnavailable, WriteUnknown
from metering.findings import Finding
from metering.heartbeats import Heartbeat
from metering.partitions import live_key
from metering.protocol import Head
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, HOUR, MINUTE, SECOND, START, Books
from tests.billing_sync.lanes import Lane
from tests.billing_sync.pushing import Marketplace, outbox_of

pytestmark = pytest.mark.anyio

GRACE_MS = 120_000
END = START + HOUR_MS


@pytest.mark.parametrize(
    ("lanes", "through"),
    [
        ({}, START),  # nobody there: the grace alone decides
        ({"a": (END, 0)}, END),
        ({"a": (END - 1, 0)}, START),
        ({"a": (END + 30_000, 0), "b": (END - 1, 0)}, START),
        ({"a": (END + 30_000, 0), "b": (END - 1, GRACE_MS)}, START),
        ({"a": (END + 30_000, 0), "b": (END - 1, GRACE_MS + 1)}, END),  # silent too long
        ({"b": (END - 1, GRACE_MS + 1)}, START),
        ({"a": (END + 9 * HOUR_MS, 0)}, END),  # a lane whose clock is ahead
    ],
)
def test_when_a_window_is_complete(lanes: dict[str, tuple[int, int]], through: int) -> None:
    """One minute after the hour: every lane has flushed past its end, or is given up."""
    now = END + MINUTE
    beats = {lane: Heartbeat(flushed, now - ago) for lane, (flushed, ago) in lanes.items()}
    assert complete_through(beats, now_ms=now, grace_ms=GRACE_MS) == through


def test_without_lanes_the_grace_ends() -> None:
    """Two minutes after the hour it is complete."""
    for late, through in ((GRACE_MS - 1, START), (GRACE_MS, END)):
        assert complete_through({}, now_ms=END + late, grace_ms=GRACE_MS) == through


def test_what_redis_lost_is_waited_for() -> None:
    """Until every lane has flushed after the loss, or the grace is over."""
    lost = END + 1000

    def through(flushed: int, now: int) -> int:
        lanes = {"a": Heartbeat(flushed, now)}
        return complete_through(lanes, now_ms=now, grace_ms=GRACE_MS, reset_ms=lost)

    assert through(lost - 1, lost + 500) == 0
    assert through(lost, lost + 1500) == END
    assert through(lost - 1, lost + GRACE_MS + 1) == END
    assert through(lost - 1, lost - 1) == 0
    assert (
        through(END, lost - GRACE_MS - 1) == START
    )  # that clock was wrong; this one is waited for


class Scene:
    """A control plane with one partition, a lane, a marketplace, and an instance `i`."""

    def __init__(self, engine: Engine, redis: Redis) -> None:
        self.books = Books(engine)
        self.books.buy("i")
        self.clock = self.books.clock
        self.lane = Lane(redis)
        self.market = Marketplace()
        self.runner = self.runner_of(redis, Counters(redis))

    def runner_of(self, redis: Redis, counters: Counters) -> Runner:
        engine, clock = self.books.engine, self.clock
        return Runner(
            engine=engine,
            redis=redis,
            drainer=Drainer(engine, counters, CATALOGUE, clock, self.books.ids),
            outbox=outbox_of(engine, self.market, clock),
            catalogue=CATALOGUE,
            partitions=1,
            grace_ms=GRACE_MS,
            clock=clock,
        )

    async def use(self, quantity: int, **key: Any) -> None:
        await self.lane.count(0, quantity, instance_id="i", **key)

    def after_the_hour(self, seconds: int) -> None:
        self.clock.time_ms = END + seconds * SECOND


@pytest.fixture
async def scene(engine: Engine, redis: Redis) -> Scene:
    """A quarter past the hour, its partition set up a while ago."""
    made = Scene(engine, redis)
    await made.runner.run_once()
    made.clock.advance(ms=GRACE_MS + 1)
    await made.runner.run_once()
    made.clock.time_ms = START + 15 * MINUTE
    return made


async def test_an_hour_from_the_lane_to_the_marketplace(scene: Scene) -> None:
    """Counted, drained, closed once the lane has passed its end, recorded, pushed."""
    await scene.use(1500)
    await scene.lane.beat(scene.clock.now_ms())
    await scene.runner.run_once()
    assert scene.books.records() == []
    scene.after_the_hour(1)
    await scene.lane.beat(END - 1, at=scene.clock.now_ms())
    await scene.runner.run_once()
    assert scene.books.records() == []
    await scene.use(500)
    await scene.lane.beat(END, at=scene.clock.now_ms())
    await scene.runner.run_once()
    (record,) = scene.books.records()
    assert (record.quantity, record.state) == (2000, "sent")
    assert scene.books.intervals() == [(0, 3600)]
    assert [len(batch) for batch in scene.market.pushed] == [1]
    assert (scene.runner.runs, scene.runner.records_made) == (5, 1)
    assert scene.runner.closed_through == END == scene.books.closed_through()


class Noticing(Counters):
    """Does something at its first look at a partition."""

    def __init__(self, redis: Redis, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__(redis)
        self.act: Callable[[], Awaitable[None]] | None = act

    async def heads(self, partitions: Sequence[int]) -> dict[int, Head]:
        return {}  # they are asked for one by one

    async def head(self, partition: int) -> Any:
        act, self.act = self.act, None
        found = await super().head(partition)
        if act is not None:
            await act()
        return found


async def test_heartbeats_are_read_before_anything_is_drained(scene: Scene, redis: Redis) -> None:
    """A lane that flushes and beats during the run is believed by the next one only: this one did
    not drain what it flushed."""
    await scene.lane.beat(END - 1)
    scene.after_the_hour(1)

    async def flush_and_beat() -> None:
        await scene.use(700)
        await scene.lane.beat(END, at=scene.clock.now_ms())

    runner = scene.runner_of(redis, Noticing(redis, flush_and_beat))
    await runner.run_once()
    assert scene.books.closed_through() == START
    await runner.run_once()
    assert [(r.quantity, r.window) for r in scene.books.records()] == [(700, HOUR)]


async def test_a_silent_lane_is_given_up_after_the_grace(scene: Scene) -> None:
    """And counted, so that somebody looks for it."""
    await scene.use(1000)
    await scene.lane.beat(END - 1)
    scene.clock.time_ms = END - 1 + GRACE_MS
    await scene.runner.run_once()
    assert (scene.books.records(), scene.runner.silent_lanes) == ([], 0)
    scene.clock.advance(ms=2)
    await scene.runner.run_once()
    assert (len(scene.books.records()), scene.runner.silent_lanes) == (1, 1)


async def test_a_control_plane_that_was_away_closes_every_hour(scene: Scene) -> None:
    """Each with its own interval."""
    for hour in range(3):
        scene.clock.time_ms = START + hour * HOUR_MS + 10 * MINUTE
        await scene.use(1000, window=HOUR + hour)
        await scene.runner.drainer.drain_all(1)
    scene.clock.time_ms = START + 5 * HOUR_MS
    await scene.runner.run_once()
    assert scene.books.intervals() == [(0, 3600), (3600, 7200), (7200, 10800)]


async def test_a_partition_that_cannot_be_drained_is_not_closed(scene: Scene, redis: Redis) -> None:
    """What is still in Redis belongs to the hour."""
    await scene.use(1000)
    await redis.hset(live_key(0), "d\x1fnonsense", 1)
    scene.clock.time_ms = END + GRACE_MS
    await scene.runner.run_once()
    assert scene.books.closed_through() == START
    assert scene.runner.drainer.stuck == {0}
    assert scene.runner.closed_through == START


async def test_what_a_lost_redis_held_is_still_of_its_hour(scene: Scene, redis: Redis) -> None:
    """Emptied right after the hour: nothing is closed until the lane has brought it again."""
    await scene.use(1000)
    scene.after_the_hour(1)
    await redis.flushall()
    await scene.lane.beat(END, at=scene.clock.now_ms())
    await scene.runner.run_once()
    assert scene.books.closed_through() == START
    scene.lane.places.clear()
    scene.clock.advance(seconds=1)
    await scene.use(1000)
    await scene.lane.beat(scene.clock.now_ms())
    await scene.runner.run_once()
    assert [(r.quantity, r.window) for r in scene.books.records()] == [(1000, HOUR)]


async def test_close_now_records_the_open_hour(scene: Scene) -> None:
    """Up to this second, and the hour's close takes the rest."""
    await scene.use(1000)
    await scene.runner.run_once(close_now=True)
    assert scene.books.intervals() == [(0, 900)]
    assert scene.books.records()[0].state == "sent"
    assert scene.books.closed_through() == START


async def test_close_now_waits_for_the_first_second(scene: Scene) -> None:
    """An instance that started this very second can be recorded when it is over."""
    scene.books.change("i", started=scene.clock.now_ms())
    await scene.use(1000)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(scene.runner.run_once, close_now=True))
        await until(lambda: scene.runner.drainer.drains == 1)
        scene.clock.advance(seconds=1)
    assert scene.books.intervals() == [(900, 901)]


@pytest.mark.parametrize("offset", [-60_000, 0, 60_000])
async def test_a_release_is_recorded_and_pushed_within_ten_seconds(
    scene: Scene, offset: int
) -> None:
    """Also when the marketplace's clock is a minute off, and with what gateways flushed two seconds
    after the callback: it is not cut before they have."""
    await scene.use(1000)
    scene.books.release("i", sent_at=scene.clock.now_ms() + offset)
    for second in range(8):
        await scene.runner.sync()
        await scene.runner.outbox.push_due()
        if second == 1:
            await scene.use(500)
        scene.clock.advance(seconds=1)
    (record,) = scene.books.records()
    assert (record.state, record.quantity) == ("sent", 1500)
    scene.books.audit()


async def test_released_long_ago_costs_nothing(scene: Scene) -> None:
    """Usage of it that nobody can record does not make every run cut its partition."""
    scene.books.buy("gone", "UNHEARD-OF")
    scene.books.use("gone", 5)
    scene.books.release("gone")
    scene.clock.advance(seconds=10)
    assert await scene.runner._partitions_with_ended(scene.clock.now_ms()) == {0}
    scene.clock.advance(ms=3 * HOUR_MS)
    assert await scene.runner._partitions_with_ended(scene.clock.now_ms()) == set()


async def test_what_has_no_record_is_counted(scene: Scene) -> None:
    """Usage of a product that is not configured, at the last close."""
    scene.books.buy("odd", "UNHEARD-OF")
    await scene.lane.count(0, 5, instance_id="odd")
    scene.clock.time_ms = END + GRACE_MS
    await scene.runner.run_once()
    assert scene.runner.left == {0: 1}


class NoHeartbeats:
    """A Redis of which the node with the heartbeats and the findings is away."""

    async def hgetall(self, key: str) -> Any:
        raise RedisConnectionError("away")

    async def eval(self, *words: Any) -> Any:
        raise RedisConnectionError("away")


async def test_without_heartbeats_it_drains_but_closes_nothing(scene: Scene, redis: Redis) -> None:
    """Nobody knows what is complete; what can be drained is, and the failure is counted."""
    await scene.use(1000)
    scene.clock.time_ms = END + GRACE_MS
    partly: Any = NoHeartbeats()
    runner = scene.runner_of(partly, Counters(redis))
    with pytest.raises(MeteringUnavailable):
        await runner.sync()
    assert (runner.drainer.drains, runner.runs) == (1, 0)
    assert scene.books.closed_through() == START
    await scene.runner.run_once()
    assert len(scene.books.records()) == 1


async def test_a_part_of_redis_away_holds_no_other_partition_up(scene: Scene, redis: Redis) -> None:
    """What was drained is closed in the same run, and the failure is raised at its end."""
    with writing(scene.books.engine) as session:
        session.add(Partition(id=1, epoch="e", last="d"))
    await scene.use(1000)
    scene.clock.time_ms = END + GRACE_MS
    runner = scene.runner_of(redis, Counters(redis))
    runner.partitions = 2
    runner.drainer.counters = Partly(redis)
    with pytest.raises(WriteUnknown):
        await runner.sync()
    assert len(scene.books.records()) == 1
    assert (runner.runs, runner.closed_through) == (0, 0)


class Partly(Counters):
    """Partition 1 does not answer."""

    async def heads(self, partitions: Sequence[int]) -> dict[int, Head]:
        return {}  # they are asked for one by one

    async def head(self, partition: int) -> Any:
        if partition == 1:
            raise WriteUnknown("no answer in time")
        return await super().head(partition)


async def test_what_another_control_plane_reset_is_waited_for_too(
    scene: Scene, redis: Redis
) -> None:
    """Who closes need not be who found Redis empty."""
    await scene.use(1000)
    scene.after_the_hour(1)
    await redis.flushall()
    await scene.lane.beat(END, at=scene.clock.now_ms())
    await scene.runner_of(redis, Counters(redis)).drainer.drain_all(1)
    await scene.runner.run_once()
    assert scene.books.closed_through() == START


async def test_a_push_log_that_cannot_be_read(scene: Scene) -> None:
    """Nobody knows what was pushed: usage comes into the ledger, and nothing is closed."""
    await scene.use(1000)
    scene.clock.time_ms = END + GRACE_MS
    folder = scene.runner.outbox.log.folder
    (folder / "000001-2026-11.jsonl").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        await scene.runner.sync()
    with pytest.raises(IsADirectoryError):
        await scene.runner.outbox.push_due()
    assert (scene.runner.drainer.drains, scene.books.records()) == (1, [])
    (folder / "000001-2026-11.jsonl").rmdir()
    await scene.runner.run_once()
    assert scene.books.records()[0].state == "sent"


async def test_a_silent_lane_is_named_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """When it falls silent, and again only after it was heard of in between."""
    await scene.lane.beat(START)
    for _ in range(3):
        await scene.runner.sync()
    assert scene.runner.silent == {"lane"}
    assert [line for line in caplog.messages if "lane lane is silent" in line] == [
        "lane lane is silent: windows no longer wait for it; what it still holds will be booked "
        "late, or is given up by `tallygate lanes forget`"
    ]
    await scene.lane.beat(scene.clock.now_ms())
    await scene.runner.sync()
    assert scene.runner.silent == frozenset()


async def test_findings_come_with_the_run(scene: Scene, redis: Redis) -> None:
    """And are asked for again, once, when the ledger was found set back: it may have had them."""
    finding = Finding("uncertain", "lane", "host", at=1, request_id="r")
    await findings.publish(redis, [finding])
    await scene.runner.sync()
    assert scene.runner.importer.imported == 1
    with writing(scene.books.engine) as session:
        stops.stop(session, "set back", START)
    await scene.runner.sync()
    assert await findings.untaken(redis, [finding.identity]) == {finding.identity}
    await findings.taken(redis, [finding.identity])
    await scene.runner.sync()
    assert await findings.untaken(redis, [finding.identity]) == set()


async def test_old_history_goes_a_partition_at_a_time(scene: Scene) -> None:
    """Without a transaction where there is nothing to let go of."""
    for number in range(3):
        await scene.use(number + 1)
        await scene.runner.sync()
    scene.clock.advance(ms=8 * 24 * HOUR_MS)
    await scene.use(9)
    await scene.runner.sync()
    assert len(scene.books.all(Drain)) == 1
    begun: list[str] = []
    event.listen(
        scene.books.engine, "before_cursor_execute", lambda _c, _x, sql, *_: begun.append(sql)
    )
    await scene.runner.sync()
    assert not any("DELETE" in sql for sql in begun)


async def test_a_redis_that_is_away_is_raised(scene: Scene) -> None:
    """Nothing is closed on a guess."""
    away = connect_one("unix:///nowhere/valkey.sock")
    runner = scene.runner_of(away, Counters(away))
    scene.clock.time_ms = END + GRACE_MS
    with pytest.raises(MeteringUnavailable):
        await runner.run_once()
    assert scene.books.closed_through() == START
    await away.aclose()


# --- the loops ------------------------------------------------------------------------------


async def nothing() -> None:
    await anyio.lowlevel.checkpoint()


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not done():  # noqa: ASYNC110  (the loops under test tell nobody)
            await anyio.sleep(0.01)


@asynccontextmanager
async def looping(runner: Runner, chores: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run_forever, 0.01, chores)
        yield
        group.cancel_scope.cancel()


async def test_a_push_that_hangs_stops_nothing_else(scene: Scene) -> None:
    """Drains and closes go on while the marketplace says nothing."""
    scene.market.hang = anyio.Event()
    await scene.use(1000)
    scene.clock.time_ms = END + GRACE_MS
    async with looping(scene.runner, nothing):
        await scene.market.called.wait()
        await scene.use(500, window=HOUR + 1)
        scene.clock.advance(ms=HOUR_MS)
        await until(lambda: len(scene.books.records()) == 2)
        assert [record.state for record in scene.books.records()] == ["sending", "pending"]
        scene.market.hang.set()
        await until(lambda: {r.state for r in scene.books.records()} == {"sent"})


async def test_chores_and_pushes_go_on_without_redis(scene: Scene) -> None:
    """What failed is counted and tried again; what was recorded before is pushed."""
    scene.books.use("i", 1000)
    scene.books.cut()
    away = connect_one("unix:///nowhere/valkey.sock")
    runner = scene.runner_of(away, Counters(away))
    done = 0

    async def chores() -> None:
        nonlocal done
        await anyio.lowlevel.checkpoint()
        done += 1

    async with looping(runner, chores):
        await until(lambda: done > 3 and scene.books.records()[0].state == "sent")
        await until(lambda: runner.failures.get(("sync", "MeteringUnavailable"), 0) > 3)
    await away.aclose()


async def test_the_loops_outlive_anything(scene: Scene) -> None:
    """A bug in the chores, a group of errors: counted, and nothing else stops."""
    left: list[Exception] = [KeyError("bug"), ExceptionGroup("some", [MeteringError("x")])]

    async def chores() -> None:
        await anyio.lowlevel.checkpoint()
        if left:
            raise left.pop(0)

    await scene.use(1000)
    async with looping(scene.runner, chores):
        await until(lambda: scene.runner.drainer.drains == 1 and not left)
        await until(lambda: len(scene.runner.failures) == 2)
    assert scene.runner.failures == {("chores", "KeyError"): 1, ("chores", "MeteringError"): 1}


async def test_a_day_is_pushed_by_the_run_right_after_its_grace(scene: Scene) -> None:
    """At 00:02 of its zone, long before KooGallery collects; the hours before make no record."""
    daily = CATALOGUE["TOKENS"].model_copy(update={"cycle": "day"})
    zone = ZoneInfo("Asia/Shanghai")
    runner = replace(scene.runner, catalogue={"TOKENS": daily}, zone=zone)
    await scene.use(1000)
    midnight = START + 8 * HOUR_MS
    for now_ms in (END + GRACE_MS, midnight, midnight + GRACE_MS - 1):
        scene.clock.time_ms = now_ms
        await runner.run_once()
        assert scene.books.records() == []
    scene.clock.time_ms = midnight + GRACE_MS
    await runner.run_once()
    (record,) = scene.books.records()
    assert (record.end, record.state) == (midnight, "sent")
    assert datetime.fromtimestamp(record.recorded_at / 1000, zone).strftime("%H:%M") == "00:02"


async def test_an_upgraded_instance_is_cut_when_gateways_have_heard_of_it(
    scene: Scene,
) -> None:
    """Not at once: what they flush within the next seconds is the old product's too."""
    now_ms = scene.clock.now_ms()
    with writing(scene.books.engine) as session:
        session.add(
            Upgrade(
                instance_id="i",
                order_id="o",
                order_line_id="l",
                partition=0,
                at=now_ms,
                received_at=now_ms,
                old_product_id="TOKENS",
                new_product_id="CALLS",
            )
        )
    scene.books.change("i", product_id="CALLS")
    await scene.use(1000)
    await scene.runner.run_once()
    assert scene.books.records() == []
    await scene.use(500)
    scene.clock.advance(ms=SETTLE_MS)
    await scene.runner.run_once()
    (record,) = scene.books.records()
    assert (record.product_id, record.quantity, record.end) == ("TOKENS", 1500, now_ms - 5000)
