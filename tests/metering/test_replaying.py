"""A lane's files brought to Redis, however much of it that lacks, and whoever else does so too."""

from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
from redis.asyncio import Redis

from metering import findings
from metering.applying import Applier
from metering.counters import Counters
from metering.errors import MeteringUnavailable
from metering.journal import Journal
from metering.lanes import LaneFolder
from metering.protocol import ApplyReply, Batch
from metering.replaying import replay, replay_living, standing
from metering.sealing import retire
from metering.segments import AUDIT, segment_files
from metering.tail import Tail
from tests.fakes import usage_record

pytestmark = pytest.mark.anyio

NewLane = Callable[..., Journal]
PARTITIONS = 4


def written(new_lane: NewLane, count: int) -> tuple[Journal, LaneFolder]:
    """A living lane with so many records of one token, over all partitions."""
    lane = new_lane(partitions=PARTITIONS)
    for number in range(count):
        lane.append(usage_record(f"c{number % 9}", tokens_in=1))
    return lane, LaneFolder(lane.folder / "lane")


async def begin(
    counters: Counters, checkpoints: dict[int, int] | None = None, epoch: str = "e"
) -> None:
    for partition in range(PARTITIONS):
        checkpoint = {"lane": (checkpoints or {}).get(partition, 0)}
        await counters.reset(partition, epoch=epoch, last="d", checkpoints=checkpoint)


async def total(counters: Counters) -> int:
    pairs = [await counters.read(partition) for partition in range(PARTITIONS)]
    return sum(sum(live.deltas.values()) for live, _ in pairs if live)


def after(folder: LaneFolder, checkpoints: dict[int, int]) -> int:
    return sum(e.number > checkpoints.get(e.partition, 0) for e in folder.entries())


async def test_a_whole_lane_is_replayed(redis: Redis, new_lane: NewLane) -> None:
    """More than fits into memory at once, in bounded calls; a second time there is nothing to do."""
    counters = Counters(redis)
    await begin(counters)
    _, folder = written(new_lane, 1500)
    for _ in range(2):
        assert await replay(folder, counters, PARTITIONS, folder.holdings(), chunk=100)
        assert await total(counters) == 1500
    stood = await standing(counters, "lane", PARTITIONS)
    assert stood.positions == folder.holdings().last


async def test_only_what_is_lacking_is_sent(redis: Redis, new_lane: NewLane) -> None:
    """From wherever each partition stands."""
    counters = Counters(redis)
    _, folder = written(new_lane, 1000)
    last = folder.holdings().last
    checkpoints = {0: last[0], 1: 500, 2: 999, 3: 0}
    await begin(counters, checkpoints)
    assert await replay(folder, counters, PARTITIONS, folder.holdings())
    assert await total(counters) == after(folder, checkpoints)


async def test_without_a_control_plane_it_waits(redis: Redis, new_lane: NewLane) -> None:
    """A Redis that nobody set up takes nothing."""
    _, folder = written(new_lane, 10)
    with pytest.raises(MeteringUnavailable):
        await replay(folder, Counters(redis), PARTITIONS, folder.holdings())


async def test_many_replay_at_once_and_the_owner_goes_on(redis: Redis, new_lane: NewLane) -> None:
    """Each record counts once; the owner's memory is small, so it needs the others."""
    counters = Counters(redis)
    await begin(counters)
    lane, folder = written(new_lane, 0)
    lane.tail = Tail(limit=50)
    applier = Applier("lane", lane.tail, counters, PARTITIONS)
    over = anyio.Event()

    async def own() -> None:
        for number in range(1000):
            lane.append(usage_record(f"c{number % 9}", tokens_in=1))
            if number % 60 == 0:
                await applier.flush(probe=True)
        over.set()

    async def help_out() -> None:
        while not over.is_set():
            await replay_living(folder, redis, PARTITIONS, 1)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(own)
        group.start_soon(help_out)
        group.start_soon(help_out)
    assert await replay_living(folder, redis, PARTITIONS, 1)
    assert await applier.flush(probe=True)
    assert await total(counters) == 1000
    assert applier.behind == set()


class SetBack(Counters):
    """Loses everything in the middle of the replay, once."""

    def __init__(self, redis: Redis, calls: int) -> None:
        super().__init__(redis)
        self.left = calls

    async def apply(self, batch: Batch) -> ApplyReply:
        if batch.deltas:
            self.left -= 1
            if self.left == 0:
                await begin(self, epoch="e2")
        return await super().apply(batch)


@pytest.mark.parametrize("calls", range(1, 14))
async def test_a_reset_in_the_middle_begins_anew(
    redis: Redis, new_lane: NewLane, calls: int
) -> None:
    """What was let go of is lacking again: the replay says so, and the next one brings it."""
    counters = SetBack(redis, calls)
    await begin(counters)
    _, folder = written(new_lane, 250)
    turns = 1
    while not await replay(folder, counters, PARTITIONS, folder.holdings(), chunk=100):
        turns += 1
        assert turns < 4
    assert await total(counters) == 250


async def trail(lane: Journal, folder: LaneFolder) -> list[int]:
    """Close and retire the lane; the first numbers of its segments."""
    lane.close()
    retire(folder)
    return [next(segment.records())[0] for segment in folder.segments()]


async def test_what_is_gone_is_named_before_the_rest_is_replayed(
    redis: Redis, new_lane: NewLane
) -> None:
    """A living lane: nothing is sent before the ledger knows what it will never get."""
    counters = Counters(redis)
    await begin(counters)
    lane, folder = written(new_lane, 2000)
    whole = {entry.number: entry.partition for entry in folder.entries()}
    for partition in range(PARTITIONS):
        lane.tail.retire(partition, 2000)
    lane.keep_up()
    with anyio.fail_after(20):
        while not (paths := segment_files(folder.path, AUDIT)):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    paths[0].unlink()
    gone = whole.keys() - {entry.number for entry in folder.entries()}
    assert not await replay_living(folder, redis, PARTITIONS, 7)
    assert await total(counters) == 0
    waiting = await findings.waiting(redis)
    assert {(f.kind, f.partition, f.first, f.last) for f in waiting} == {
        ("lost_lane", p, 1, max(n for n in gone if whole[n] == p)) for p in range(PARTITIONS)
    }
    await findings.taken(redis, [each.identity for each in waiting])
    assert await replay_living(folder, redis, PARTITIONS, 8)
    assert await total(counters) == 2000 - len(gone)
    assert await redis.hlen(findings.KEY) == 0


async def test_what_goes_while_it_is_replayed_is_not_passed_over(
    redis: Redis, new_lane: NewLane
) -> None:
    """It ends before the hole: the next one names it first."""
    counters = Counters(redis)
    await begin(counters)
    lane, folder = written(new_lane, 2000)
    _, second, third, *_ = await trail(lane, folder)
    held = folder.holdings()
    segment_files(folder.path)[1].unlink()
    assert not await replay(folder, counters, PARTITIONS, held)
    assert await total(counters) == second - 1
    assert folder.holdings().gone[0][:2] == (second, third - 1)
    assert await replay(folder, counters, PARTITIONS, folder.holdings())
    assert await total(counters) == 2000 - (third - second)


async def test_an_end_that_goes_while_it_is_replayed_is_missed(
    redis: Redis, new_lane: NewLane
) -> None:
    """Nothing follows that would tell of it."""
    counters = Counters(redis)
    await begin(counters)
    lane, folder = written(new_lane, 2000)
    *_, last = await trail(lane, folder)
    held = folder.holdings()
    segment_files(folder.path)[-1].unlink()
    assert not await replay(folder, counters, PARTITIONS, held)
    assert await total(counters) == last - 1
    assert await replay(folder, counters, PARTITIONS, folder.holdings())
