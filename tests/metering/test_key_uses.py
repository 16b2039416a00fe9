"""Last uses of keys in a real Redis: the latest counts, and what was taken over is gone."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from metering import key_uses
from metering.connection import connect
from metering.errors import MeteringUnavailable
from tests.redis_cluster import TestCluster

pytestmark = pytest.mark.anyio


async def test_the_latest_use_counts(redis: Redis) -> None:
    """Whoever tells it, and in which order."""
    for uses in ({"1": 10, "2": 20}, {"1": 30, "2": 5}, {"1": 20}):
        await key_uses.tell(redis, uses)
    assert (await key_uses.read(redis)).uses == {"1": 30, "2": 20}


async def test_what_was_taken_over_is_gone(redis: Redis) -> None:
    """But not a use that came in between."""
    await key_uses.tell(redis, {"1": 10, "2": 20})
    waiting = await key_uses.read(redis)
    await key_uses.tell(redis, {"2": 21})
    for _ in range(2):  # a lost answer is no harm
        await key_uses.taken(redis, waiting)
        assert (await key_uses.read(redis)).uses == {"2": 21}


async def test_what_nobody_of_ours_wrote_is_passed_over(redis: Redis) -> None:
    """And cleared away, whatever bytes it is made of; a use takes its place."""
    strange: dict[Any, Any] = {
        "a": "soon",
        "b": "-1",
        "c": "1e9",
        "d": "9" * 30,
        "e" * 65: "1",
        "": "1",
        "ä": "1",
    }
    strange |= {b"\xff": b"\xfe", "f": "inf", "g": "5"}
    await redis.hset(key_uses.KEY, mapping=strange)
    await key_uses.tell(redis, {"a": 7})
    waiting = await key_uses.read(redis)
    assert waiting.uses == {"a": 7, "g": 5}
    await key_uses.taken(redis, waiting)
    assert await redis.exists(key_uses.KEY) == 0


async def test_many(redis: Redis) -> None:
    """More than go into one call."""
    uses = {f"k{number}": number + 1 for number in range(1234)}
    await key_uses.tell(redis, uses)
    waiting = await key_uses.read(redis)
    assert waiting.uses == uses
    await key_uses.taken(redis, waiting)
    assert (await key_uses.read(redis)).uses == {}


async def test_on_a_cluster(redis_cluster: TestCluster) -> None:
    """One key is on one node."""
    store = connect(redis_cluster.url)
    await key_uses.tell(store, {"1": 10})
    waiting = await key_uses.read(store)
    assert waiting.uses == {"1": 10}
    await key_uses.taken(store, waiting)
    assert (await key_uses.read(store)).uses == {}
    await store.aclose()


async def test_without_redis() -> None:
    """The caller hears of it."""
    store = connect("redis://127.0.0.1:1")
    for call in (key_uses.tell(store, {"1": 1}), key_uses.read(store)):
        with pytest.raises(MeteringUnavailable):
            await call
    await store.aclose()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["tell", "read", "taken"]), st.integers(1, 9), st.integers(1, 99)
        ),
        max_size=20,
    )
)
async def test_no_use_is_lost_on_the_way(redis: Redis, steps: list[tuple[str, int, int]]) -> None:
    """However tellers and takers take turns, the ledger ends with the latest use of each key."""
    await redis.flushall()
    latest: dict[str, int] = {}
    ledger: dict[str, int] = {}
    waiting = await key_uses.read(redis)
    for step, number, at in [*steps, ("read", 1, 1), ("taken", 1, 1)]:
        if step == "tell":
            latest[str(number)] = max(at, latest.get(str(number), 0))
            await key_uses.tell(redis, {str(number): at})
        elif step == "read":
            waiting = await key_uses.read(redis)
            for key_id, used in waiting.uses.items():
                ledger[key_id] = max(used, ledger.get(key_id, 0))
        else:
            await key_uses.taken(redis, waiting)
    assert ledger == latest
