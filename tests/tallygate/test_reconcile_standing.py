from collections.abc import Awaitable, Callable, Mapping

import pytest
from redis.asyncio import Redis

from metering.connection import connect_one
from metering.counters import Counters
from metering.errors import MeteringUnavailable, NodeUnavailable
from metering.partitions import live_key, partition_of
from metering.protocol import Content
from tallygate.reconciliation.standing import Standings
from tallygate.reconciliation.terms import Place, Stood
from tests.tallygate.site import HOUR, PARTITIONS, Site

pytestmark = pytest.mark.anyio

CALLS = Place(HOUR, "a", "", "requests")
MINE = partition_of("a", PARTITIONS)


class Moving(Counters):
    """Something happens behind every reading of a partition, so many times."""

    def __init__(self, redis: Redis, then: Callable[[], Awaitable[None]], times: int) -> None:
        super().__init__(redis)
        self._then = then
        self._left = times

    async def read(self, partition: int) -> tuple[Content | None, Content | None]:
        pair = await super().read(partition)
        if partition == MINE and self._left:
            self._left -= 1
            await self._then()
        return pair


class Away(Counters):
    """Some partitions do not answer."""

    def __init__(self, redis: Redis, failures: Mapping[int, Exception]) -> None:
        super().__init__(redis)
        self._failures = failures
        self.asked: list[int] = []

    async def read(self, partition: int) -> tuple[Content | None, Content | None]:
        self.asked.append(partition)
        if partition in self._failures:
            raise self._failures[partition]
        return await super().read(partition)


async def stood(site: Site, counters: Counters | None = None) -> Stood:
    return await Standings(site.engine, counters or site.counters).read(range(PARTITIONS))


def at(found: Stood) -> tuple[int, int, int]:
    """What is held of calls, the position and the checkpoint it belongs to."""
    held = found.held.get(CALLS)
    reached = found.position("lane-1").get(MINE, 0)
    return held.quantity if held else 0, reached, found.checkpoint("lane-1").get(MINE, 0)


async def test_redis_and_ledger_are_read_at_one_instant(site: Site) -> None:
    """What is drained counts once, wherever it is; the position says how far."""
    site.calls(3)
    await site.flush()
    assert at(await stood(site)) == (3, 3, 0)
    await site.drain()
    site.calls(2)
    await site.flush()
    assert at(await stood(site)) == (5, 5, 3)


async def test_a_partition_that_moved_meanwhile_is_read_again(site: Site) -> None:
    """A drain came between Redis and the ledger."""
    site.calls(3)
    await site.flush()

    async def more() -> None:
        site.calls(1)
        await site.flush()
        await site.drain()

    found = await stood(site, Moving(site.redis, more, times=3))
    assert at(found) == (6, 6, 6)
    assert found.ledger_alone == set()


async def test_a_partition_that_never_rests_is_read_from_the_ledger(site: Site) -> None:
    """Its checkpoints say how far that is."""
    site.calls(3)
    await site.flush()

    async def more() -> None:
        site.calls(1)
        await site.flush()
        await site.drain()

    found = await stood(site, Moving(site.redis, more, times=1000))
    held, position, checkpoint = at(found)
    assert held == position == checkpoint >= 4
    assert found.ledger_alone == {MINE}


async def test_a_redis_that_lost_everything_is_left_out(site: Site) -> None:
    """Also while the control plane has not noticed."""
    site.calls(3)
    await site.flush()
    await site.drain()
    await site.redis.flushall()
    found = await stood(site)
    assert at(found) == (3, 3, 3)
    assert found.ledger_alone == set(range(PARTITIONS))


async def test_a_redis_that_holds_something_else_is_left_out(site: Site) -> None:
    """Somebody wrote into a partition."""
    site.calls(3)
    await site.flush()
    await site.drain()
    await site.redis.hset(live_key(MINE), "p:lane-1", "many")
    assert at(await stood(site)) == (3, 3, 3)


async def test_a_redis_that_is_away_is_not_waited_for_long(site: Site) -> None:
    """After a few failures nobody else is asked."""
    site.calls(3)
    await site.flush()
    await site.drain()
    nobody = connect_one("redis://127.0.0.1:1")
    assert at(await stood(site, Counters(nobody))) == (3, 3, 3)
    await nobody.aclose()
    gone = Away(site.redis, dict.fromkeys(range(PARTITIONS), MeteringUnavailable("away")))
    await stood(site, gone)
    assert len(gone.asked) == 3


async def test_a_node_that_is_away_keeps_nobody_from_the_others(site: Site) -> None:
    """Its partitions are read from the ledger."""
    site.calls(3)
    await site.flush()
    others = {p: NodeUnavailable("away") for p in range(PARTITIONS) if p != MINE}
    found = await stood(site, Away(site.redis, others))
    assert at(found) == (3, 3, 0)
    assert found.ledger_alone == others.keys()
