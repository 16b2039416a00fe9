"""Lanes of dead processes, taken over to their end: everything counted once, or named."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering import findings, heartbeats
from metering.adoption import Adopter
from metering.applying import Applier, Plan
from metering.board import Open
from metering.counters import Counters
from metering.deltas import Merging
from metering.heartbeats import Heartbeat
from metering.journal import Journal
from metering.lanes import INFO, SEALED, LaneFolder, State
from metering.protocol import ApplyReply, Batch
from metering.segments import segment_files
from tests.fakes import FakeClock, usage_record
from tests.metering.control_plane import ControlPlane, save, set_back
from tests.metering.lives import left_behind

pytestmark = pytest.mark.anyio

NewLane = Callable[..., Journal]
Dead = Callable[..., LaneFolder]
PARTITIONS = 4
PATIENCE_S = 20.0
CALL = Open("r-open", "cust-1", "chat", 5)
OPEN = ("uncertain", "lane", "r-open", -1, 0, 0)


def _batch(plan: Plan) -> Batch:
    """As the applier would have sent it."""
    merging = Merging()
    merging.add(plan.records)
    partition, epoch, start, end, _ = plan
    return Batch(partition, epoch, "lane", start, end, merging.deltas())


class Sent(Counters):
    """Counters that remember what was sent, as a network may that delivers it late."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.batches: list[Batch] = []

    async def apply(self, batch: Batch) -> ApplyReply:
        self.batches.append(batch)
        return await super().apply(batch)


@pytest.fixture
async def control(engine: Engine, redis: Redis) -> ControlPlane:
    control = ControlPlane(engine, redis, PARTITIONS, FakeClock())
    await control.turn()
    return control


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "dead"


@pytest.fixture
def adopter(journal: Path, redis: Redis) -> Adopter:
    return adopter_of(journal, redis)


def adopter_of(journal: Path, redis: Redis) -> Adopter:
    return Adopter(journal, redis, PARTITIONS, FakeClock())


def fill(lane: Journal, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        lane.append(usage_record(f"c{number % 9}", tokens_in=1))


@pytest.fixture
def dead(new_lane: NewLane, journal: Path) -> Dead:
    """A lane whose process was killed after so many records of one token, one call being open."""

    def made(count: int = 1500, lane_id: str = "lane", *, opened: bool = True) -> LaneFolder:
        lane = new_lane(lane_id, partitions=PARTITIONS)
        if opened:
            lane.begin(CALL)
        fill(lane, count)
        return left_behind(lane, journal)

    return made


async def complete(adopter: Adopter, *, again: bool = False) -> None:
    with anyio.fail_after(2 * PATIENCE_S):
        assert await adopter.run(patience_s=PATIENCE_S, again=again) == []


async def test_a_dead_lane_is_counted_named_and_retired(
    control: ControlPlane, adopter: Adopter, dead: Dead, redis: Redis
) -> None:
    """And nothing of it is left anywhere but in the ledger and the audit trail."""
    folder = dead()
    await heartbeats.beat(redis, "lane", Heartbeat(1, 1))
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 1500
    assert control.named() == {OPEN}
    assert folder.state() is State.RETIRED
    assert adopter.adopted == 1
    assert await redis.hlen(findings.KEY) == 0
    assert await heartbeats.read(redis) == {}


async def test_without_a_control_plane_it_waits(adopter: Adopter, dead: Dead, redis: Redis) -> None:
    """Sealed and untouched; whoever comes next goes on."""
    folder = dead()
    assert await adopter.run(patience_s=0) == ["lane"]
    assert folder.state() is State.SEALED
    assert adopter.adopted == 0


async def test_windows_wait_for_what_is_being_replayed(
    control: ControlPlane, adopter: Adopter, dead: Dead, redis: Redis
) -> None:
    """Until Redis has it; the ledger may take longer."""
    dead()
    await redis.config_set("maxmemory", "1")
    try:
        assert await adopter.run(patience_s=0) == ["lane"]
    finally:
        await redis.config_set("maxmemory", "0")
    assert await adopter.run(patience_s=0) == ["lane"]  # Redis has it now, the ledger has not
    assert await heartbeats.read(redis) == {}
    await control.turn()
    assert control.tokens() == 1500


async def test_a_living_lane_is_left_alone(
    control: ControlPlane, new_lane: NewLane, redis: Redis
) -> None:
    """Whatever its heartbeat says."""
    lane = new_lane(partitions=PARTITIONS)
    fill(lane, 10)
    adopter = adopter_of(lane.folder, redis)
    await complete(adopter, again=True)
    assert adopter.adopted == 0
    assert LaneFolder(lane.folder / "lane").state() is State.LIVE


async def test_many_adopters_share_the_work(
    control: ControlPlane, journal: Path, dead: Dead, redis: Redis
) -> None:
    """Each lane is adopted by one of them, and counted once."""
    for number in range(4):
        dead(200, f"lane{number}")
    adopters = [adopter_of(journal, redis) for _ in range(3)]
    async with control.running(), anyio.create_task_group() as group:
        for adopter in adopters:
            group.start_soon(complete, adopter)
    assert control.tokens() == 800
    assert len(control.named()) == 4
    assert sum(adopter.adopted for adopter in adopters) == 4


async def test_what_redis_had_is_not_sent_again(
    control: ControlPlane, adopter: Adopter, new_lane: NewLane, journal: Path, redis: Redis
) -> None:
    """The owner had applied a part; its late calls come in before, meanwhile, and afterwards."""
    lane = new_lane(partitions=PARTITIONS)
    sent = Sent(redis)
    applier = Applier("lane", lane.tail, sent, PARTITIONS)
    for part in range(5):
        fill(lane, 50, first=50 * part)
        assert await applier.flush()
        await control.turn()
    fill(lane, 50)
    await applier.ask_next(PARTITIONS)
    unheard = [applier.plan(partition) for partition in range(PARTITIONS)]
    left_behind(lane, journal)
    late = [*sent.batches, *[_batch(plan) for plan in unheard if plan]]

    async def deliver() -> None:
        for batch in late:
            await Counters(redis).apply(batch)

    await deliver()
    async with control.running(), anyio.create_task_group() as group:
        group.start_soon(complete, adopter)
        for _ in range(3):
            await deliver()
    await deliver()
    await control.turn()
    assert control.tokens() == 300
    assert control.named() == set()


@pytest.mark.parametrize("moment", ["sealed", "applied", "drained"])
async def test_a_redis_that_is_emptied_meanwhile(
    control: ControlPlane, adopter: Adopter, dead: Dead, redis: Redis, moment: str
) -> None:
    """The lane is replayed again, and what was named is named again."""
    dead(300)
    if moment != "sealed":
        assert await adopter.run(patience_s=0) == ["lane"]
    if moment == "drained":
        await control.drainer.drain_all(PARTITIONS)
    await redis.flushall()
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 300
    assert control.named() == {OPEN}


async def test_a_ledger_set_back_is_told_again(
    control: ControlPlane,
    journal: Path,
    dead: Dead,
    redis: Redis,
    tmp_path: Path,
) -> None:
    """Retired lanes are replayed from their trail, and their findings are named again."""
    save(control.engine, tmp_path / "backup")
    folder = dead(700)
    async with control.running():
        await complete(adopter_of(journal, redis))
    set_back(control.engine, tmp_path / "backup")
    assert control.tokens() == 0
    again = adopter_of(journal, redis)
    await control.turn()  # which finds out, and starts Redis anew
    async with control.running():
        await complete(again, again=True)
    assert control.tokens() == 700
    assert control.named() == {OPEN}
    assert again.adopted == 0
    assert folder.state() is State.RETIRED


@pytest.mark.parametrize("taken", [{0}, {1}, {-1}, {0, -1}, {0, 1, 2, 3}])
async def test_what_the_retention_took_from_a_ledger_set_back_is_lost_by_name(
    control: ControlPlane,
    journal: Path,
    dead: Dead,
    redis: Redis,
    tmp_path: Path,
    taken: set[int],
) -> None:
    """Exactly what is gone; the rest is counted, and the adoption comes to an end."""
    save(control.engine, tmp_path / "backup")
    folder = dead(2000, opened=False)
    async with control.running():
        await complete(adopter_of(journal, redis))
    whole = {entry.number: entry.partition for entry in folder.entries()}
    paths = segment_files(folder.path)
    assert len(paths) == 4
    for index in taken:
        paths[index].unlink()
    left = {entry.number for entry in folder.entries()}
    set_back(control.engine, tmp_path / "backup")
    await control.turn()
    async with control.running():
        await complete(adopter_of(journal, redis), again=True)
    assert control.tokens() == len(left)
    lost: set[int] = set()
    for kind, _, _, partition, first, last in control.named():
        assert kind == "lost_lane"
        lost |= {n for n, p in whole.items() if p == partition and first <= n <= last}
    assert lost == whole.keys() - left
    assert await redis.hlen(findings.KEY) == 0


async def test_a_trail_that_is_cut_is_no_loss_by_itself(
    control: ControlPlane, adopter: Adopter, new_lane: NewLane, journal: Path, redis: Redis
) -> None:
    """A customer of long ago comes back just before the end: nothing of him was lost."""
    lane = new_lane(partitions=PARTITIONS)
    applier = Applier("lane", lane.tail, Counters(redis), PARTITIONS)
    lane.append(usage_record("c0", tokens_in=1))
    for _ in range(1500):
        lane.append(usage_record("c1", tokens_in=1))
    assert await applier.flush()
    await control.turn()
    lane.append(usage_record("c0", tokens_in=1))
    folder = left_behind(lane, journal)
    segment_files(folder.path)[1].unlink()  # as after having been audit trail for its time
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 1502
    assert control.named() == set()


async def test_what_a_power_cut_took_and_redis_knew_is_unexplained(
    control: ControlPlane, adopter: Adopter, new_lane: NewLane, journal: Path, redis: Redis
) -> None:
    """The sum stays, and the numbers are named; what nobody knew is gone."""
    lane = new_lane(partitions=PARTITIONS)
    applier = Applier("lane", lane.tail, Counters(redis), PARTITIONS)
    fill(lane, 20)
    folder = left_behind(lane, journal)  # what was synced
    fill(lane, 10, first=20)
    assert await applier.flush()
    whole = {e.partition: e.number for e in LaneFolder(lane.folder / "lane").entries()}
    fill(lane, 5, first=30)
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 30
    assert control.named() == {
        ("unexplained", "lane", "", partition, 21, last)
        for partition, last in whole.items()
        if last > 20
    }
    assert folder.state() is State.RETIRED


@pytest.mark.parametrize("name", [INFO, SEALED])
async def test_a_damaged_lane_stops_no_other(
    control: ControlPlane,
    adopter: Adopter,
    dead: Dead,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """It is named in the log, once, and left alone."""
    (dead(10, "bad").path / name).write_bytes(b"{")
    dead(20, "good")
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 20
    assert adopter.unreadable == {"bad"}
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "lane bad cannot be read"
    ]


async def test_a_lane_that_fails_stops_no_other(
    control: ControlPlane, adopter: Adopter, dead: Dead, caplog: pytest.LogCaptureFixture
) -> None:
    """Something in the place of a segment that is no file: nobody waits for that."""
    bad = dead(10, "bad")
    path = segment_files(bad.path)[0]
    path.rename(bad.path / "aside")
    path.mkdir()
    dead(20, "good")
    async with control.running():
        assert await adopter.run(patience_s=PATIENCE_S) == ["bad"]
    assert control.tokens() == 20
    assert len(caplog.records) == 1
    path.rmdir()
    (bad.path / "aside").rename(path)
    async with control.running():
        await complete(adopter)
    assert control.tokens() == 30


async def test_a_lane_that_dies_meanwhile_is_taken_too(
    control: ControlPlane, journal: Path, new_lane: NewLane, redis: Redis
) -> None:
    """For as long as the adopter is at work."""
    first = new_lane("first", partitions=PARTITIONS)
    fill(first, 10)
    second = new_lane("second", partitions=PARTITIONS)
    fill(second, 10)
    first.close()
    adopter = adopter_of(first.folder, redis)
    async with anyio.create_task_group() as group:
        group.start_soon(complete, adopter)
        await anyio.sleep(0.1)
        second.close()
        async with control.running():
            with anyio.fail_after(PATIENCE_S):
                while adopter.adopted < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
    assert control.tokens() == 20
