"""Backups and restores at any moment, in any number: in the end everything was pushed exactly once.

The marketplace of these histories takes every batch and often does not answer; Redis is emptied or
set back besides; lanes are slow; two instances share packages; units are such that something waits in
the remainder.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from billing_sync.errors import NothingToRecover
from metering.catalogue import Product
from metering.connection import connect_one
from metering.partitions import drain_key, live_key
from tests.billing_sync.books import CATALOGUE, METER
from tests.billing_sync.pushing import ACCEPTED, log_of
from tests.billing_sync.recoveries import GRACE_MS, NO_ANSWER, Plane
from tests.databases import SqliteFile

Action = tuple[Any, ...]
Draw = Callable[[Random], Action]


def a_use(dice: Random) -> Action:
    """Instance, quantity, lane, hours from now."""
    most = dice.choice([50, 4000, 9000])
    hours = dice.choice([0, 0, 0, -1, -2])
    return dice.choice("ij"), dice.randint(1, most), dice.randint(0, 1), hours


def a_busy_hour(dice: Random) -> Action:
    """Some uses, all of them brought, closed and pushed; whether the marketplace answers."""
    return "busy_hour", [a_use(dice) for _ in range(dice.randint(1, 4))], dice.random() < 0.6


# What may happen, and how often.
CHOICES: Final[dict[Draw, float]] = {
    a_busy_hour: 6,
    lambda dice: ("use", *a_use(dice)): 4,
    lambda dice: ("flush", dice.choice([(0,), (1,), (0, 1)])): 3,
    lambda _: ("sync",): 3,
    lambda dice: ("push", dice.random() < 0.5): 2,
    lambda dice: ("hour", dice.random() < 0.5): 1,
    lambda _: ("cut",): 2,
    lambda _: ("back_up",): 2,
    lambda dice: ("restore", dice.randint(0, 9), dice.random() < 0.25): 2.5,
    lambda _: ("recover",): 2.5,
    lambda _: ("save_redis",): 0.7,
    lambda _: ("set_redis_back",): 0.7,
}


@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck))
@given(dice=st.randoms(use_true_random=False), unit=st.sampled_from([1000, 7, 30_000_000]))
def test_every_history_is_pushed_once(valkey_url: str, dice: Random, unit: int) -> None:
    """Σ pushed = Σ used, no interval twice, no package beyond its quota."""
    draws = dice.choices(list(CHOICES), list(CHOICES.values()), k=dice.randint(5, 40))
    script = [draw(dice) for draw in draws]
    note(script)
    asyncio.run(play(valkey_url, script, unit))


async def play(valkey_url: str, script: list[Action], unit: int) -> None:
    redis = connect_one(valkey_url)
    await redis.flushall()
    with tempfile.TemporaryDirectory() as folder:
        token = Product(product_id="TOKENS", meter=METER, unit=unit)
        plane = Plane(SqliteFile(Path(folder)), redis, {**CATALOGUE, "TOKENS": token})
        for name in "ij":
            plane.books.buy(name)
        plane.books.buy("stop", "STOP")
        plane.books.buy("pack", "PACK", expires=2**50)
        await plane.runner.sync()
        plane.back_up()
        history = History(plane, redis)
        try:
            for name, *words in script:
                await getattr(history, name)(*words)
            await finish(plane)
        finally:
            plane.engine.dispose()
            await redis.aclose()


class History:
    """What can happen, one method each."""

    def __init__(self, plane: Plane, redis: Redis) -> None:
        self.plane = plane
        self.redis = redis
        self.saved: dict[Any, Any] = {}

    async def use(self, name: str, quantity: int, lane: int, hours: int) -> None:
        self.plane.use(name, quantity, lane=lane, hours=hours)

    async def busy_hour(self, uses: list[tuple[str, int, int, int]], answered: bool) -> None:
        for use in uses:
            await self.use(*use)
        await self.hour(True)
        await self.push(answered)

    async def flush(self, lanes: tuple[int, ...]) -> None:
        await self.plane.flush(lanes)

    async def sync(self) -> None:
        self.plane.clock.advance(seconds=1)
        await self.plane.runner.sync()

    async def push(self, answered: bool) -> None:
        self.plane.market.judge = lambda _: ACCEPTED if answered else NO_ANSWER
        self.plane.clock.advance(seconds=61)
        await self.plane.runner.outbox.push_due()

    async def hour(self, flushed: bool) -> None:
        self.plane.books.to_the_next_hour()
        self.plane.clock.advance(ms=GRACE_MS)
        if flushed:
            await self.plane.flush()
        await self.plane.runner.sync()

    async def cut(self) -> None:
        await self.plane.runner._cut(range(1), released_only=False)

    async def back_up(self) -> None:
        self.plane.back_up()

    async def restore(self, number: int, emptied: bool) -> None:
        self.plane.restore(number % self.plane.backups)
        if emptied:
            await self.redis.flushall()

    async def recover(self) -> None:
        recover(self.plane)

    async def save_redis(self) -> None:
        keys = await self.redis.keys("{p*")
        self.saved = {key: await self.redis.hgetall(key) for key in keys}

    async def set_redis_back(self) -> None:
        await self.redis.delete(live_key(0), drain_key(0))
        for key, fields in self.saved.items():
            await self.redis.hset(key, mapping=fields)

    async def lose_the_push_log(self) -> None:
        shutil.rmtree(log_of(self.plane.engine).folder)


def recover(plane: Plane) -> None:
    with suppress(NothingToRecover):
        plane.recover()


async def finish(plane: Plane) -> None:
    await plane.runner.sync()
    recover(plane)
    await plane.come_to_rest()
    if plane.runner.halt.stop is not None:
        recover(plane)
        await plane.come_to_rest()
    plane.audit()
    assert plane.pushed(package="stop") <= 10
    intervals = sorted(
        (r["instance_id"], r["begin_time"], r["end_time"]) for r in plane.market.taken.values()
    )
    for (one, _, end), (other, begin, _) in pairwise(intervals):
        assert one != other or end <= begin


def test_the_model_can_fail(valkey_url: str) -> None:
    """Without push log and Redis nobody knows that the hour was pushed: the marketplace notices."""
    script: list[Action] = [
        ("use", "i", 1000, 0, 0),
        ("flush", (0,)),
        ("hour", True),
        ("push", True),
        ("lose_the_push_log",),
        ("restore", 0, True),
        ("use", "i", 500, 0, -1),
    ]
    with pytest.raises(AssertionError):
        asyncio.run(play(valkey_url, script, 1000))
    asyncio.run(play(valkey_url, [a for a in script if a[0] != "lose_the_push_log"], 1000))
