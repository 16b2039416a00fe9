"""Last uses on their way from a real Redis to the ledger, and what a crash between the steps leaves."""

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.key_uses import KeyUses
from billing_sync.store import keys
from billing_sync.store.engine import reading
from metering import key_uses
from metering.key_uses import Waiting
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


class Killed(Exception):
    """The process is no more."""


class DiesAfterTheLedger(KeyUses):
    """Between steps 2 and 3."""

    def _take_in(self, waiting: Waiting) -> None:
        super()._take_in(waiting)
        raise Killed


class DiesBeforeTheLedger(KeyUses):
    """Between steps 1 and 2."""

    def _take_in(self, waiting: Waiting) -> None:
        raise Killed


def known(engine: Engine) -> dict[str, int]:
    with reading(engine) as session:
        return keys.last_uses(session, ["1", "2"])


async def test_uses_arrive(engine: Engine, redis: Redis) -> None:
    """And leave Redis; what comes later comes with the next run."""
    taker = KeyUses(engine, redis, FakeClock(1000))
    await taker.run()
    await key_uses.tell(redis, {"1": 10, "2": 20})
    await taker.run()
    assert known(engine) == {"1": 10, "2": 20}
    assert (await key_uses.read(redis)).uses == {}
    await redis.flushall()
    await key_uses.tell(redis, {"1": 5, "2": 30})
    await taker.run()
    assert known(engine) == {"1": 10, "2": 30}


@pytest.mark.parametrize("dying", [DiesBeforeTheLedger, DiesAfterTheLedger])
async def test_a_kill_between_the_steps(engine: Engine, redis: Redis, dying: type[KeyUses]) -> None:
    """The next run finds what is left to do."""
    await key_uses.tell(redis, {"1": 10})
    with pytest.raises(Killed):
        await dying(engine, redis, FakeClock(1000)).run()
    assert (await key_uses.read(redis)).uses == {"1": 10}
    await KeyUses(engine, redis, FakeClock(1000)).run()
    assert known(engine) == {"1": 10}
    assert (await key_uses.read(redis)).uses == {}


async def test_rubbish_is_cleared_away(engine: Engine, redis: Redis) -> None:
    """Or it would be read again for ever."""
    await redis.hset(key_uses.KEY, mapping={"1": "soon", "\x00": "1"})
    await KeyUses(engine, redis, FakeClock(1000)).run()
    assert await redis.exists(key_uses.KEY) == 0
    assert known(engine) == {}


async def test_many_at_once(engine: Engine, redis: Redis) -> None:
    """More than go into one transaction."""
    uses = {str(number): 10 + number for number in range(2345)}
    await key_uses.tell(redis, uses)
    await KeyUses(engine, redis, FakeClock(9999)).run()
    with reading(engine) as session:
        assert keys.last_uses(session, uses) == uses
    assert (await key_uses.read(redis)).uses == {}
