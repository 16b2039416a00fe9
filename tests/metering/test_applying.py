"""How the tail of a lane comes to Redis, whatever Redis says, forgets or loses."""

from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from metering.applying import Applier
from metering.connection import text_of
from metering.counters import Counters
from metering.errors import WriteUnknown
from metering.protocol import ApplyReply, Batch
from metering.tail import Tail
from tests.fakes import usage_record

pytestmark = pytest.mark.anyio

Applied = list[tuple[int, int, int]]


class Watched(Counters):
    """Remembers every batch; loses replies as often as told."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.sent: list[Batch] = []
        self.losses = 0
        self.messages = 0  # of several batches

    async def apply(self, batch: Batch) -> ApplyReply:
        self.sent.append(batch)
        reply = await super().apply(batch)
        self._lose()
        return reply

    async def apply_each(self, batches: Sequence[Batch]) -> list[ApplyReply]:
        self.messages += 1
        replies = await super().apply_each(batches)
        self._lose()
        return replies

    def _lose(self) -> None:
        if self.losses:
            self.losses -= 1
            raise WriteUnknown("lost")

    @property
    def applied(self) -> Applied:
        return [(b.partition, b.start, b.end) for b in self.sent if b.deltas]


@pytest.fixture
def counters(redis: Redis) -> Watched:
    return Watched(redis)


async def begin(counters: Counters, *partitions: int, **checkpoints: int) -> None:
    for partition in partitions:
        await counters.reset(partition, epoch=f"e{checkpoints}", last="d", checkpoints=checkpoints)


async def total(counters: Counters, partition: int = 0) -> int:
    live, _ = await counters.read(partition)
    return sum(live.deltas.values()) if live else 0


def tail_of(*numbers: int, partition: int = 0, limit: int = 1000) -> Tail:
    tail = Tail(limit)
    for number in numbers:
        tail.put(number, partition, usage_record(tokens_in=number))
    return tail


async def test_it_goes_on_where_redis_stands(counters: Watched) -> None:
    """A replay knows nothing of before: it asks first, and sends only what is lacking."""
    await begin(counters, 0, lane=3)
    applier = Applier("lane", tail_of(4, 5), counters, 1)
    assert await applier.flush()
    assert counters.applied == [(0, 3, 5)]
    assert await total(counters) == 9


async def test_a_lane_that_stands_before_its_memory_is_behind(counters: Watched) -> None:
    """Also in its very first flush, without a probe. Nothing is sent."""
    await begin(counters, 0)
    tail = tail_of(*range(1, 31), limit=10)
    applier = Applier("lane", tail, counters, 1)
    assert not await applier.flush()
    assert applier.behind == {0}
    assert counters.applied == []


async def test_what_was_brought_from_the_files_is_no_longer_behind(counters: Watched) -> None:
    """Another process replayed it: the next flush finds that, and goes on from memory."""
    await begin(counters, 0)
    tail = tail_of(*range(1, 31), limit=10)
    applier = Applier("lane", tail, counters, 1)
    await applier.flush()
    whole = Applier("lane", tail_of(*range(1, 25)), counters, 1)
    assert await whole.flush()
    assert await applier.flush(probe=True)
    assert applier.behind == set()
    assert await total(counters) == sum(range(1, 31))


async def probed(applier: Applier) -> None:
    """A partition that has just answered is not asked again by the next probe."""
    await applier.flush(probe=True)
    await applier.flush(probe=True)


async def test_a_partition_that_has_just_answered_is_not_probed(counters: Watched) -> None:
    """Of a busy one nothing is learnt that its own flushes do not tell."""
    await begin(counters, 0)
    applier = Applier("lane", tail_of(1), counters, 1)
    await applier.flush()
    before = applier.batches
    await applier.flush(probe=True)
    assert applier.batches == before
    await applier.flush(probe=True)
    assert applier.batches == before + 1


async def test_an_idle_partition_does_not_stay_behind(counters: Watched) -> None:
    """The ledger took over all of it before anybody sent something again: it is never planned."""
    await begin(counters, 0)
    tail = tail_of(*range(1, 31), limit=10)
    applier = Applier("lane", tail, counters, 1)
    await applier.flush()
    assert applier.behind == {0}
    await begin(counters, 0, lane=30)
    await applier.ask_next(1)
    assert (applier.behind, tail.touched()) == (set(), [])


async def test_a_ledger_set_back_is_noticed_though_nothing_comes_in(counters: Watched) -> None:
    """The partitions take turns at being asked; what memory lacks is replayed from the files."""
    await begin(counters, 0, 1)
    tail = tail_of(1, 2, 3, partition=1)
    applier = Applier("lane", tail, counters, 2)
    await applier.flush()
    await begin(counters, 1, lane=3)
    await probed(applier)
    assert tail.touched() == []
    await begin(counters, 1, lane=1)
    await applier.ask_next(2)
    assert tail.touched() == [1]
    assert applier.behind == {1}
    assert applier.rounds == 1


async def test_a_redis_emptied_and_set_up_again_is_a_reset(counters: Watched, redis: Redis) -> None:
    """Though for a moment it had no epoch at all; the first epoch ever is none."""
    await begin(counters, 0)
    applier = Applier("lane", tail_of(1), counters, 1)
    await applier.flush()
    assert applier.resets == 0
    await redis.flushall()
    await probed(applier)
    await begin(counters, 0, lane=1)
    await probed(applier)
    assert applier.resets == 1


async def test_an_emptied_redis_is_not_behind(counters: Watched, redis: Redis) -> None:
    """It is only not set up: nothing could be replayed yet."""
    await begin(counters, 0)
    tail = tail_of(*range(1, 31), limit=10)
    applier = Applier("lane", tail, counters, 1)
    await applier.flush()
    await redis.flushall()
    await probed(applier)
    assert applier.behind == set()


async def test_a_lost_reply_is_found_out(counters: Watched) -> None:
    """The batch was applied; the next flush learns the position and sends nothing twice."""
    await begin(counters, 0)
    applier = Applier("lane", tail_of(1, 2), counters, 1)
    await applier.ask_next(1)
    counters.losses = 1
    assert not await applier.flush()
    assert applier.failure == "WriteUnknown"
    assert await applier.flush()
    assert await total(counters) == 3


async def test_a_failing_partition_does_not_starve_the_others(counters: Watched) -> None:
    """The next flush begins behind it."""
    await begin(counters, 0, 1, 2)
    tail = Tail()
    for partition in range(3):
        tail.put(partition + 1, partition, usage_record(tokens_in=1))
    applier = Applier("lane", tail, counters, 3)
    counters.losses = 1
    assert not await applier.flush()
    counters.losses = 1
    assert not await applier.flush()
    assert [batch.partition for batch in counters.sent] == [0, 1]
    assert await applier.flush()


async def three_partitions(counters: Watched) -> tuple[Tail, Applier]:
    """Of which Redis has the first record each."""
    await begin(counters, 0, 1, 2)
    tail = Tail()
    for number in range(3):
        tail.put(number + 1, number, usage_record(tokens_in=1))
    applier = Applier("lane", tail, counters, 3)
    assert await applier.flush()
    for number in range(3):
        tail.put(number + 4, number, usage_record(tokens_in=10))
    counters.sent, counters.messages = [], 0
    return tail, applier


async def test_several_partitions_go_in_one_message(counters: Watched) -> None:
    """No batch goes by itself then."""
    _, applier = await three_partitions(counters)
    assert await applier.flush()
    assert (counters.messages, counters.sent) == (1, [])
    assert [await total(counters, partition) for partition in range(3)] == [11, 11, 11]
    assert applier.backlog == 0


async def test_a_lost_message_counts_once(counters: Watched) -> None:
    """Nobody knows what of it was applied. The next flush goes batch by batch, later ones do not."""
    tail, applier = await three_partitions(counters)
    counters.losses = 1
    assert not await applier.flush()
    assert (counters.messages, applier.failures) == (1, 1)
    assert await applier.flush()
    assert (counters.messages, len(counters.applied)) == (1, 3)
    assert [await total(counters, partition) for partition in range(3)] == [11, 11, 11]
    for number in range(3):
        tail.put(number + 7, number, usage_record(tokens_in=100))
    assert await applier.flush()
    assert counters.messages == 2
    assert [await total(counters, partition) for partition in range(3)] == [111, 111, 111]


async def test_a_batch_that_is_refused_holds_up_no_other(counters: Watched, redis: Redis) -> None:
    """Its neighbours in the message are counted, and once."""
    _, applier = await three_partitions(counters)
    (field,) = (f for f in map(text_of, await redis.hkeys("{p01}:live")) if "tokens_in" in f)
    await redis.hset("{p01}:live", field, "x")
    for _ in range(3):
        assert not await applier.flush()
    assert [await total(counters, partition) for partition in (0, 2)] == [11, 11]
    assert applier.backlog == 1
    await redis.hset("{p01}:live", field, "1")
    assert await applier.flush()
    assert [await total(counters, partition) for partition in range(3)] == [11, 11, 11]


async def test_a_server_that_forgot_the_script_is_given_it_again(
    counters: Watched, redis: Redis
) -> None:
    """It was started again, say: what goes in one message names a script that it does not know."""
    _, applier = await three_partitions(counters)
    await redis.script_flush()
    assert await applier.flush()
    assert [await total(counters, partition) for partition in range(3)] == [11, 11, 11]


async def test_somebody_who_keeps_resetting_is_not_waited_for(
    counters: Watched, redis: Redis
) -> None:
    """A flush ends; the next one goes on."""

    class Resets(Watched):
        async def apply(self, batch: Batch) -> ApplyReply:
            reply = await super().apply(batch)
            await self.reset(0, epoch=f"e{len(self.sent)}", last="d", checkpoints={})
            return reply

    restless = Resets(redis)
    await begin(restless, 0)
    applier = Applier("lane", tail_of(1), restless, 1)
    assert not await applier.flush()
    assert len(restless.sent) < 10
    steady = Applier("lane", tail_of(1), counters, 1)
    assert await steady.flush()
    assert await total(counters) == 1


async def test_the_backlog_is_what_redis_lacks(counters: Watched) -> None:
    """Of what is in memory."""
    tail = tail_of(1, 2, 3)
    applier = Applier("lane", tail, counters, 1)
    assert not await applier.flush()
    assert applier.backlog == 3
    await begin(counters, 0, lane=1)
    assert await applier.flush()
    assert applier.backlog == 0
