"""Lanes that were heard of, and those that are given up."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.errors import LaneIsAlive, LaneUnknown
from billing_sync.finding_models import FindingRow
from billing_sync.models import Checkpoint
from billing_sync.store.engine import reading, writing
from billing_sync.store.lanes import SILENT_MS, KnownLane, forget_lane, known_lanes
from metering import heartbeats
from metering.heartbeats import Heartbeat

pytestmark = pytest.mark.anyio

NOW = 1_790_000_000_000
SILENT = NOW - SILENT_MS - 1


def hold(engine: Engine, lane: str, **positions: int) -> None:
    with writing(engine) as session:
        for partition, position in positions.items():
            session.add(Checkpoint(partition=int(partition[1:]), lane=lane, position=position))


def findings(engine: Engine) -> list[FindingRow]:
    with reading(engine) as session:
        return list(session.exec(select(FindingRow)))


async def test_lanes_that_were_heard_of(engine: Engine, redis: Redis) -> None:
    """When, how far they flushed, whether they are silent, and how far the ledger holds them."""
    hold(engine, "a", p0=5, p3=9)
    await heartbeats.beat(redis, "a", Heartbeat(NOW - 10, NOW - 5))
    await heartbeats.beat(redis, "b", Heartbeat(7, SILENT))
    assert await known_lanes(engine, redis, NOW) == [
        KnownLane("a", NOW - 10, NOW - 5, silent=False, in_ledger=9),
        KnownLane("b", 7, SILENT, silent=True, in_ledger=0),
    ]


async def test_a_silent_lane_is_given_up(engine: Engine, redis: Redis) -> None:
    """Named with how far the ledger holds it; no window waits for it any more. Twice is once."""
    hold(engine, "a", p3=9, p0=5)
    await heartbeats.beat(redis, "a", Heartbeat(NOW, SILENT))
    finding = await forget_lane(engine, redis, "a", NOW)
    assert (finding.kind, finding.lane, finding.at) == ("lost_lane", "a", NOW)
    assert json.loads(finding.detail) == {"checkpoints": {"0": 5, "3": 9}}
    assert await heartbeats.read(redis) == {}
    await forget_lane(engine, redis, "a", NOW + 1)
    (row,) = findings(engine)
    assert (row.identity, row.at) == (finding.identity, NOW)


async def test_a_lane_that_beats_is_not(engine: Engine, redis: Redis) -> None:
    """It is said when it last did."""
    await heartbeats.beat(redis, "a", Heartbeat(NOW, NOW - 3000))
    with pytest.raises(LaneIsAlive, match="3 s ago"):
        await forget_lane(engine, redis, "a", NOW)
    assert findings(engine) == []
    assert "a" in await heartbeats.read(redis)


async def test_a_lane_that_nobody_heard_of(engine: Engine, redis: Redis) -> None:
    """Is a mistake; one that only the ledger or only Redis knows is none."""
    with pytest.raises(LaneUnknown, match="lanes list"):
        await forget_lane(engine, redis, "typo", NOW)
    hold(engine, "in-ledger", p0=1)
    await forget_lane(engine, redis, "in-ledger", NOW)
    await heartbeats.beat(redis, "in-redis", Heartbeat(0, SILENT))
    await forget_lane(engine, redis, "in-redis", NOW)
    assert {row.lane for row in findings(engine)} == {"in-ledger", "in-redis"}


class Cut:
    """A Redis whose link breaks when something is to be taken out."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def hgetall(self, key: str) -> Any:
        return await self.redis.hgetall(key)

    async def hdel(self, *words: Any) -> Any:
        raise ConnectionError


async def test_killed_in_between(engine: Engine, redis: Redis) -> None:
    """The finding stands, the lane is still silent; giving it up again ends it."""
    await heartbeats.beat(redis, "a", Heartbeat(0, SILENT))
    dying: Any = Cut(redis)
    with pytest.raises(ConnectionError):
        await forget_lane(engine, dying, "a", NOW)
    assert "a" in await heartbeats.read(redis)
    await forget_lane(engine, redis, "a", NOW)
    assert await heartbeats.read(redis) == {}
    assert len(findings(engine)) == 1
