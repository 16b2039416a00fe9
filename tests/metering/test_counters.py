import pytest
from redis.asyncio import Redis

from metering import deltas
from metering.connection import check_policy, connect
from metering.counters import Counters
from metering.errors import MeteringUnavailable, StoreUnsuitable
from metering.protocol import Batch
from tests.fakes import usage_record

pytestmark = pytest.mark.anyio


def batch(epoch: str, start: int, end: int, *, tokens_in: int) -> Batch:
    return Batch(1, epoch, "lane", start, end, deltas.merge([usage_record(tokens_in=tokens_in)]))


async def test_a_batch_counts_once(redis: Redis) -> None:
    """The same batch sent again is a gap and changes nothing."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    assert await counters.apply(batch("e", 0, 3, tokens_in=7)) == ("ok", "e", 3, 0)
    assert await counters.apply(batch("e", 0, 3, tokens_in=7)) == ("gap", "e", 3, 0)
    live, drain = await counters.read(1)
    assert live is not None
    assert sum(live.deltas.values()) == 7
    assert drain is None


async def test_another_epoch_counts_nothing(redis: Redis) -> None:
    """A batch of an old epoch learns the new one and the position to replay from."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e2", last="d0", checkpoints={"lane": 5})
    assert await counters.apply(batch("e1", 9, 12, tokens_in=7)) == ("epoch", "e2", 5, 5)


async def test_an_empty_redis_counts_nothing(redis: Redis) -> None:
    """Before the control plane set the partition up, not even a batch without epoch is taken."""
    counters = Counters(redis)
    for epoch in ("", "e"):
        assert await counters.apply(batch(epoch, 0, 1, tokens_in=7)) == ("epoch", "", 0, 0)
    assert await counters.read(1) == (None, None)


async def test_quantities_above_2_to_the_53_are_exact(redis: Redis) -> None:
    """No number passes through Lua's doubles."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    for start in range(2):
        await counters.apply(batch("e", start, start + 1, tokens_in=2**60 + 1))
    live, _ = await counters.read(1)
    assert live is not None
    assert list(live.deltas.values()) == [2**61 + 2]


async def test_setting_aside_keeps_positions_and_starts_empty(redis: Redis) -> None:
    """Live goes on under the new id where the set-aside stopped."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    await counters.apply(batch("e", 0, 4, tokens_in=7))
    assert await counters.set_aside(1, epoch="e", last="d0", new_id="d1")
    assert not await counters.set_aside(1, epoch="e", last="d1", new_id="d2")
    live, drain = await counters.read(1)
    assert live is not None
    assert drain is not None
    assert (live.last, live.positions, live.deltas) == ("d1", {"lane": 4}, {})
    assert (drain.id, drain.last, sum(drain.deltas.values())) == ("d1", "d0", 7)
    head = await counters.head(1)
    assert (head.dirty, head.drain_id, head.drain_prev) == (False, "d1", "d0")


async def test_dropping_tells_the_lane_its_checkpoint(redis: Redis) -> None:
    """Only the named set-aside is deleted; the next reply carries the checkpoint."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    await counters.apply(batch("e", 0, 4, tokens_in=7))
    await counters.set_aside(1, epoch="e", last="d0", new_id="d1")
    assert not await counters.drop_drain(1, drain_id="other", epoch="e", checkpoints={})
    assert await counters.drop_drain(1, drain_id="d1", epoch="e", checkpoints={"lane": 4})
    assert await counters.apply(batch("e", 4, 5, tokens_in=1)) == ("ok", "e", 5, 4)


async def test_scripts_work_where_they_were_forgotten(redis: Redis) -> None:
    """A restarted server that lost its scripts is given the text again."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    await counters.head(1)
    await redis.script_flush()
    assert (await counters.head(1)).epoch == "e"


async def test_a_server_that_is_away_is_unavailable(tmp_path: object) -> None:
    """A refused connection is a MeteringUnavailable that says so."""
    client = connect(f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(MeteringUnavailable, match="cannot be reached"):
        await Counters(client).head(1)
    await client.aclose()


async def test_a_server_that_evicts_is_refused(redis: Redis) -> None:
    """Counters must not be deleted to make room."""
    await check_policy(redis)
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnsuitable, match="noeviction"):
            await check_policy(redis)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
