from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from gateway.errors import NotCounted
from gateway.recorder import Recorder
from metering.board import Open
from metering.counters import Counters
from metering.errors import NodeUnavailable, WriteUnknown
from metering.journal import Journal
from metering.partitions import partition_of
from metering.protocol import Batch
from tests.fakes import FakeClock, usage_record

pytestmark = pytest.mark.anyio

NewLane = Callable[..., Journal]


class LosesReplies(Counters):
    """Applies, then fails as if the reply were lost, as often as told."""

    def __init__(self, redis: Redis, losses: int) -> None:
        super().__init__(redis)
        self.losses = losses

    async def apply(self, batch: Batch):  # type: ignore[no-untyped-def]
        reply = await super().apply(batch)
        if self.losses:
            self.losses -= 1
            raise WriteUnknown("lost")
        return reply


async def total(counters: Counters, partition: int = 0) -> int:
    live, _ = await counters.read(partition)
    return sum(live.deltas.values()) if live else 0


async def test_records_reach_redis_in_one_batch(redis: Redis, new_lane: NewLane) -> None:
    """A hundred calls of a customer are two scripts: learn the epoch, then apply."""
    counters = Counters(redis)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1)
    for _ in range(100):
        recorder.record(usage_record(tokens_in=3))
    assert await recorder.flush(0.0) is not None
    assert await total(counters) == 300
    assert recorder.applier.batches == 2
    assert recorder.applier.backlog == 0


async def test_nothing_is_sent_without_new_records(redis: Redis, new_lane: NewLane) -> None:
    """An idle worker leaves Redis alone and still says how far it has flushed."""
    clock = FakeClock(5000)
    recorder = Recorder(new_lane(), Counters(redis), clock, 1)
    assert await recorder.flush(0.0) == 5000
    assert recorder.applier.batches == 0


async def test_a_lost_reply_counts_once(redis: Redis, new_lane: NewLane) -> None:
    """The batch was applied and its reply lost: the next flush finds the position moved."""
    counters = LosesReplies(redis, losses=0)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1)
    await recorder.flush(0.0)
    recorder.record(usage_record(tokens_in=3))
    counters.losses = 2  # the epoch answer and the applied batch
    assert await recorder.flush(0.0) is None
    assert await recorder.flush(0.0) is None
    recorder.record(usage_record(tokens_in=4))
    assert await recorder.flush(0.0) is not None
    assert await total(counters) == 7


async def test_an_unset_partition_waits(redis: Redis, new_lane: NewLane) -> None:
    """Without the control plane usage stays in the lane, and nothing is claimed flushed."""
    recorder = Recorder(new_lane(), Counters(redis), FakeClock(), 1)
    recorder.record(usage_record(tokens_in=3))
    assert await recorder.flush(0.0) is None
    assert recorder.applier.backlog == 1


async def test_a_reset_is_replayed_from_the_checkpoint(redis: Redis, new_lane: NewLane) -> None:
    """After Redis was emptied only what the ledger does not hold is sent again."""
    counters = Counters(redis)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1)
    for _ in range(3):
        recorder.record(usage_record(tokens_in=10))
    await recorder.flush(0.0)
    await redis.flushall()
    await counters.reset(0, epoch="e2", last="d", checkpoints={"lane": 1})
    recorder.record(usage_record(tokens_in=1))
    await recorder.flush(0.0)
    assert await total(counters) == 21


async def test_a_long_backlog_is_sent_in_bounded_batches(redis: Redis, new_lane: NewLane) -> None:
    """After an outage twelve thousand records go in twenty-four calls, none lost."""
    counters = Counters(redis)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1)
    for _ in range(12_000):
        recorder.record(usage_record(tokens_in=1))
    assert await recorder.flush(0.0) is not None
    assert await total(counters) == 12_000
    assert recorder.applier.batches == 25


async def test_a_probe_notices_a_redis_that_forgot(redis: Redis, new_lane: NewLane) -> None:
    """Everything was applied, nothing new comes in, Redis is emptied: the usage is sent again."""
    counters = Counters(redis)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1)
    recorder.record(usage_record(tokens_in=10))
    await recorder.flush(0.0)
    await redis.flushall()
    await recorder.flush(0.0, probe=True)  # which does not ask who has just answered
    assert await recorder.flush(0.0, probe=True) is None
    await counters.reset(0, epoch="e2", last="d", checkpoints={})
    assert await recorder.flush(0.0, probe=True) is not None
    assert await total(counters) == 10


async def test_a_probe_learns_the_checkpoint(redis: Redis, new_lane: NewLane) -> None:
    """Records the ledger has taken over are let go though their customer is idle."""
    counters = Counters(redis)
    lane = new_lane()
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(lane, counters, FakeClock(), 1)
    recorder.record(usage_record(tokens_in=10))
    await recorder.flush(0.0)
    await counters.set_aside(0, epoch="e", last="d", new_id="d1")
    await counters.drop_drain(0, drain_id="d1", epoch="e", checkpoints={"lane": 1})
    await recorder.flush(0.0, probe=True)  # which does not ask who has just answered
    await recorder.flush(0.0, probe=True)
    assert lane.tail.touched() == []
    assert not (await counters.head(0)).dirty


async def test_an_idle_worker_finds_out_that_redis_is_back(redis: Redis, new_lane: NewLane) -> None:
    """Where calls are refused meanwhile, nothing is left to send that would tell."""
    counters = Counters(redis)
    await counters.reset(0, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(), counters, FakeClock(), 1, deny_without_store=True)
    for _ in range(3):
        recorder.breaker.failed(0.0, "MeteringUnavailable")
    with pytest.raises(NotCounted):
        recorder.begin(Open("r", "cust-1", "chat", 5))
    await recorder.flush(10.0)
    recorder.begin(Open("r", "cust-1", "chat", 5))


async def test_one_dead_node_starves_nobody(redis: Redis, new_lane: NewLane) -> None:
    """On a cluster the other partitions go on, and Redis does not count as down."""

    class OneNodeAway(Counters):
        async def apply(self, batch: Batch):  # type: ignore[no-untyped-def]
            if batch.partition == 0:
                raise NodeUnavailable("node 1 is away")
            return await super().apply(batch)

    counters = OneNodeAway(redis)
    for partition in range(4):
        await counters.reset(partition, epoch="e", last="d", checkpoints={})
    recorder = Recorder(new_lane(partitions=4), counters, FakeClock(), 4)
    for customer in "abcdefgh":
        recorder.record(usage_record(customer, tokens_in=1))
    for _ in range(5):
        assert await recorder.flush(0.0) is None
    here = sum(partition_of(customer, 4) == 0 for customer in "abcdefgh")
    assert 0 < here < 8
    assert sum([await total(counters, partition) for partition in range(1, 4)]) == 8 - here
    assert not recorder.breaker.open
