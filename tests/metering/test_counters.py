import asyncio
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from metering import deltas
from metering.connection import check_policy, connect, connect_one, text_of
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringUnavailable, StoreUnsuitable
from metering.protocol import Batch, Content
from metering.usage import Account, Charge, Grade, Quantity, UsageRecord
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


async def test_many_heads_in_one_go(redis: Redis) -> None:
    """As each for itself; none before the script is known there, nor after it was forgotten."""
    counters = Counters(redis)
    for partition in range(3):
        await counters.reset(partition, epoch=f"e{partition}", last="d0", checkpoints={})
    assert await counters.heads(range(3)) == {}
    each = {partition: await counters.head(partition) for partition in range(3)}
    assert await counters.heads(range(3)) == each
    await redis.set("{p01}:live", "no hash")
    assert await counters.heads(range(3)) == {}
    await redis.script_flush()
    assert await counters.heads([0, 2]) == {}


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


NUMBERS = st.builds(
    lambda power, more: max(10**power + more, 0), st.integers(0, 16), st.integers(-2, 2)
) | st.sampled_from([2**n + more for n in (51, 52, 53) for more in (-1, 0, 1)])
RECORDS = st.builds(
    lambda account, used: msgspec.structs.replace(usage_record(), account=account, quantities=used),
    st.builds(
        Account,
        st.sampled_from("abc"),
        st.just("chat"),
        st.lists(
            st.builds(Charge, st.sampled_from("ij"), st.sampled_from(["tokens_in", "images"])),
            max_size=3,
        ).map(tuple),
    ),
    st.dictionaries(
        st.sampled_from(["tokens_in", "tokens_out"]),
        st.builds(Quantity, NUMBERS, st.sampled_from(Grade)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RECORDS, min_size=1, max_size=5), max_size=6))
def test_sums_are_those_of_the_plainest_reckoning(
    valkey_url: str, batches: list[list[UsageRecord]]
) -> None:
    """However large they are and however records stand together."""
    plain: Counter[DeltaKey] = Counter()

    async def play() -> Content | None:
        async with connect_one(valkey_url) as redis:
            await redis.flushall()
            counters = Counters(redis)
            await counters.reset(1, epoch="e", last="d0", checkpoints={})
            for start, records in enumerate(batches):
                merged = deltas.merge(records)
                plain.update(merged)
                reply = await counters.apply(Batch(1, "e", "lane", start, start + 1, merged))
                assert reply == ("ok", "e", start + 1, 0)
            return (await counters.read(1))[0]

    live = asyncio.run(play())
    assert live is not None
    assert live.deltas == plain


async def counted(redis: Redis) -> dict[str, str]:
    fields = await redis.hgetall("{p01}:live")
    return {text_of(field): text_of(value) for field, value in fields.items()}


def several(
    start: int, end: int, *, tokens_in: int = 0, tokens_out: int = 0, images: int = 0
) -> Batch:
    """A batch of several fields, in this order."""
    record = usage_record(tokens_in=tokens_in, tokens_out=tokens_out, images=images)
    return Batch(1, "e", "lane", start, end, deltas.merge([record]))


async def test_a_sum_that_overflows_counts_nothing_of_its_batch(redis: Redis) -> None:
    """Sent again and again it adds nothing, neither before nor after the field that is full."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    await counters.apply(several(0, 1, tokens_out=2**63 - 5))
    before = await counted(redis)
    for _ in range(3):
        with pytest.raises(MeteringUnavailable, match="overflow"):
            await counters.apply(several(1, 2, tokens_in=7, tokens_out=5, images=3))
        assert await counted(redis) == before
    await counters.set_aside(1, epoch="e", last="d0", new_id="d1")
    reply = await counters.apply(several(1, 2, tokens_in=7, tokens_out=5, images=3))
    assert reply == ("ok", "e", 2, 0)


async def test_a_field_that_holds_no_number_counts_nothing_of_its_batch(redis: Redis) -> None:
    """Whoever wrote it: what was added before it is taken back."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    await counters.apply(several(0, 1, tokens_in=1, tokens_out=1))
    spoiled = sorted(field for field in await counted(redis) if "tokens_out" in field)[0]
    await redis.hset("{p01}:live", spoiled, "x")
    before = await counted(redis)
    with pytest.raises(MeteringUnavailable, match="not an integer"):
        await counters.apply(several(1, 2, tokens_in=7, tokens_out=5, images=3))
    assert await counted(redis) == before


async def test_a_user_who_may_not_move_the_position_counts_nothing(
    redis: Redis, valkey_url: str
) -> None:
    """Deltas without their position would be added again each time."""
    await Counters(redis).reset(1, epoch="e", last="d0", checkpoints={})
    before = await counted(redis)
    await redis.acl_setuser("app", enabled=True, nopass=True, keys="*", commands=["+@all", "-hset"])
    limited = Redis.from_url(valkey_url, username="app", password="x")
    try:
        with pytest.raises(MeteringUnavailable, match="hset"):
            await Counters(limited).apply(several(0, 1, tokens_in=7, images=3))
    finally:
        await limited.aclose()
        await redis.acl_deluser("app")
    assert await counted(redis) == before


async def test_memory_that_runs_out_half_way_counts_the_whole_batch(redis: Redis) -> None:
    """Redis looks at its memory before the first write of a script, never between two."""
    counters = Counters(redis)
    await counters.reset(1, epoch="e", last="d0", checkpoints={})
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used + 500_000)
    applied = 0
    with suppress(MeteringUnavailable):
        while applied < 100:
            calls = [usage_record(f"{'c' * 100}{applied}-{n}", tokens_in=1) for n in range(1000)]
            await counters.apply(Batch(1, "e", "lane", applied, applied + 1, deltas.merge(calls)))
            applied += 1
    await redis.config_set("maxmemory", 0)
    assert 0 < applied < 100
    live, _ = await counters.read(1)
    assert live is not None
    assert (live.positions, sum(live.deltas.values())) == ({"lane": applied}, applied * 1000)


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
