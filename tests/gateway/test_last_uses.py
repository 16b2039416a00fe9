"""What a worker tells of the keys that were used, with a real Redis that may be away or emptied."""

import anyio
import pytest
from redis.asyncio import Redis

from gateway.last_uses import LastUses
from metering import key_uses
from metering.connection import connect
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


class Used:
    """The keys used since they were taken last."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def take(self) -> set[str]:
        taken, self.ids = self.ids, set()
        return taken


@pytest.fixture
def used() -> Used:
    return Used()


async def waiting(redis: Redis) -> dict[str, int]:
    return dict((await key_uses.read(redis)).uses)


async def test_used_keys_are_told(redis: Redis, used: Used) -> None:
    """With the time of the turn; a caller without a key uses none."""
    clock = FakeClock(1000)
    uses = LastUses(redis, clock, used.take)
    used.ids = {"1", "2", ""}
    await uses.tell()
    clock.advance(seconds=5)
    used.ids = {"2"}
    await uses.tell()
    assert await waiting(redis) == {"1": 1000, "2": 6000}


async def test_an_idle_worker_says_nothing(redis: Redis, used: Used) -> None:
    """Once it has said it twice."""
    uses = LastUses(redis, FakeClock(1000), used.take)
    used.ids = {"1"}
    for _ in range(2):
        await uses.tell()
    await redis.flushall()
    await uses.tell()
    assert await waiting(redis) == {}


async def test_a_redis_that_was_emptied_hears_of_it_again(redis: Redis, used: Used) -> None:
    """What was told before may not have been taken over yet."""
    uses = LastUses(redis, FakeClock(1000), used.take)
    used.ids = {"1"}
    await uses.tell()
    await redis.flushall()
    await uses.tell()
    assert await waiting(redis) == {"1": 1000}


async def test_an_outage_loses_nothing(redis: Redis, used: Used) -> None:
    """Every use since is told when Redis is back, with its own time."""
    clock, away = FakeClock(1000), connect("redis://127.0.0.1:1")
    uses = LastUses(away, clock, used.take)
    for key_id in ("1", "2"):
        used.ids = {key_id}
        await uses.tell()
        clock.advance(seconds=5)
    uses._store = redis
    await uses.tell()
    assert await waiting(redis) == {"1": 1000, "2": 6000}
    await away.aclose()


async def test_the_end_of_a_worker_tells_the_last_ones(redis: Redis, used: Used) -> None:
    """Also when it is cancelled between two turns."""
    uses = LastUses(redis, FakeClock(1000), used.take)
    async with anyio.create_task_group() as group:
        group.start_soon(uses.tell_forever, 3600.0)
        await anyio.sleep(0.05)
        used.ids = {"1"}
        group.cancel_scope.cancel()
    assert await waiting(redis) == {"1": 1000}
