"""Findings on their way from Redis into the ledger, whoever dies in between."""

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.finding_models import FindingRow
from billing_sync.importing import FindingImporter
from billing_sync.store.engine import reading
from metering import findings
from metering.connection import connect_one
from metering.errors import MeteringError
from metering.findings import KEY, MOST_WAITING, Finding

pytestmark = pytest.mark.anyio

UNCERTAIN = Finding("uncertain", "lane", "host", at=5, request_id="r", customer_id="c", started=4)
LOST = Finding("lost_lane", "lane", "host", at=6, first=3, last=9, detail='{"checkpoints": {}}')


def rows(engine: Engine) -> list[FindingRow]:
    with reading(engine) as session:
        return list(session.exec(select(FindingRow)))


async def test_each_is_taken_once(engine: Engine, redis: Redis) -> None:
    """With all it says; whoever publishes it again is told that the ledger has it."""
    importer = FindingImporter(engine, redis)
    for _ in range(2):
        await findings.publish(redis, [UNCERTAIN, LOST])
        await importer.run()
    found = {row.kind: row for row in rows(engine)}
    assert importer.imported == len(found) == 2
    for finding in (UNCERTAIN, LOST):
        row = found[finding.kind].model_dump(exclude={"id", "identity"})
        assert Finding(**row) == finding
    assert await findings.untaken(redis, [UNCERTAIN.identity, LOST.identity]) == set()


class Cut:
    """A Redis whose link breaks at the n-th call, before or after it was done."""

    def __init__(self, redis: Redis, calls: int, *, done: bool) -> None:
        self.redis = redis
        self.calls = calls
        self.done = done

    async def eval(self, *words: Any) -> Any:
        self.calls -= 1
        if self.calls < 0 and not self.done:
            raise ConnectionError
        answer = await self.redis.eval(*words)
        if self.calls < 0:
            raise ConnectionError
        return answer


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("calls", [0, 1])
async def test_killed_between_any_two_steps(
    engine: Engine, redis: Redis, calls: int, done: bool
) -> None:
    """The next control plane finds what is left to do, and nothing twice."""
    await findings.publish(redis, [UNCERTAIN, LOST])
    dying: Any = Cut(redis, calls, done=done)
    with pytest.raises(ConnectionError):
        await FindingImporter(engine, dying).run()
    assert len(rows(engine)) == (2 if calls else 0)
    await FindingImporter(engine, redis).run()
    assert len(rows(engine)) == 2
    assert await findings.waiting(redis) == []


async def test_a_flood_is_taken_run_by_run(engine: Engine, redis: Redis) -> None:
    """A bounded number in each, and what is no finding holds nobody up."""
    many = [replace(UNCERTAIN, started=number) for number in range(MOST_WAITING + 5)]
    await findings.publish(redis, many)
    await redis.hset(KEY, "odd", "nonsense")
    importer = FindingImporter(engine, redis)
    await importer.run()
    assert MOST_WAITING <= importer.imported < len(many)
    await importer.run()
    assert importer.imported == len(rows(engine)) == len(many)
    assert importer.unreadable == 1


async def test_redis_emptied_before_they_were_taken(engine: Engine, redis: Redis) -> None:
    """They are published again by whoever found them, and known already if they were not lost."""
    importer = FindingImporter(engine, redis)
    await findings.publish(redis, [UNCERTAIN])
    await importer.run()
    await redis.flushall()
    missing = await findings.untaken(redis, [UNCERTAIN.identity, LOST.identity])
    assert missing == {UNCERTAIN.identity, LOST.identity}
    await findings.publish(redis, [UNCERTAIN, LOST])
    await importer.run()
    assert len(rows(engine)) == 2


async def test_a_redis_that_is_away_is_raised(engine: Engine) -> None:
    """The run counts it."""
    away = connect_one("unix:///nowhere/valkey.sock")
    with pytest.raises(MeteringError):
        await FindingImporter(engine, away).run()
    await away.aclose()
