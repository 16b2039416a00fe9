"""Faults of the embedded Redis: down, frozen, emptied, set back to an earlier state."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from metering import embedded
from metering.connection import connect_one
from tallygate.drills.faults.killing import running
from tallygate.drills.processes import kill
from tallygate.drills.stage import Stage
from tallygate.drills.terms import DidNotBite

_SHARE: Final = 0.3  # of the load's time that a store is away
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.02


async def redis_down(stage: Stage) -> None:
    """Valkey is killed and cannot be started again for a while."""
    (victim,) = await running(stage, "valkey", 1)
    # The supervisor writes the server's configuration at each start; over a folder it cannot.
    config = stage.data_dir / "valkey" / "valkey.conf"
    config.unlink(missing_ok=True)
    config.mkdir()
    try:
        kill(victim, signal.SIGKILL)
        await anyio.sleep(stage.terms.seconds * _SHARE)
        if stage.processes.of("valkey") not in ([], [victim]):
            raise DidNotBite("Valkey came back too early")
    finally:
        config.rmdir()
    await running(stage, "valkey", 1)
    await answers(stage)


async def redis_freeze(stage: Stage) -> None:
    """Valkey stands still: connections stay open and nothing is answered."""
    (victim,) = await running(stage, "valkey", 1)
    kill(victim, signal.SIGSTOP)
    try:
        await anyio.sleep(stage.terms.seconds * _SHARE)
    finally:
        kill(victim, signal.SIGCONT)


async def redis_flush(stage: Stage) -> None:
    """FLUSHALL in the middle of the hour, twice."""
    async with client(stage) as redis:
        for _ in range(2):
            await _holds_something(redis)
            await redis.flushall()
            await anyio.sleep(stage.terms.seconds * _SHARE / 2)


async def redis_rollback(stage: Stage) -> None:
    """All of Redis is set back to what it was some seconds ago, as from an old backup."""
    async with client(stage) as redis:
        await _holds_something(redis)
        earlier = {key: await redis.dump(key) for key in await redis.keys("*")}
        await anyio.sleep(stage.terms.seconds * _SHARE)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for key, content in earlier.items():
                if content is not None:  # it was deleted between KEYS and DUMP
                    pipe.restore(key, 0, content)
            await pipe.execute()


async def _holds_something(redis: Redis) -> None:
    """Return when it has counters. Raises DidNotBite."""
    with anyio.move_on_after(_PATIENCE_S):
        while not await redis.keys("{p*}:live"):  # noqa: ASYNC110  (Redis sends no event)
            await anyio.sleep(_POLL_S)
        return
    raise DidNotBite("Redis held nothing")


@asynccontextmanager
async def client(stage: Stage) -> AsyncIterator[Redis]:
    """A client of the installation's Redis."""
    redis = connect_one(embedded.url(stage.installation.data_dir))
    try:
        yield redis
    finally:
        await redis.aclose()


async def answers(stage: Stage) -> None:
    """Return when Redis answers. Raises DidNotBite when it never does."""
    with anyio.move_on_after(_PATIENCE_S):
        while True:
            async with client(stage) as redis:
                try:
                    await redis.ping()
                except (RedisError, OSError):
                    await anyio.sleep(_POLL_S)
                else:
                    return
    raise DidNotBite("Redis did not come back")
