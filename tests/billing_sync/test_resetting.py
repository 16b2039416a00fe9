"""Resets on a real Valkey: why, and what a kill between any two steps leaves."""

from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.drain import Drainer
from billing_sync.finding_models import Salvage
from billing_sync.lineage import Reason
from billing_sync.models import Epoch
from billing_sync.resetting import Resetter
from billing_sync.store import ledger, stops
from billing_sync.store.engine import reading
from billing_sync.store.ledger import Place
from metering.counters import Counters
from metering.errors import MeteringUnavailable
from metering.partitions import drain_key, live_key
from tests.billing_sync.books import START
from tests.billing_sync.dying import Stopping
from tests.billing_sync.lanes import KeepingLane
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

IDS = Ids("x")


@pytest.fixture
async def drainer(engine: Engine, redis: Redis) -> Drainer:
    """One partition, set up."""
    ledger.set_up(engine, 1, Ids())
    made = drainer_of(engine, Counters(redis))
    await made.drain_all(1)
    made.reasons.clear()
    return made


def drainer_of(engine: Engine, counters: Counters) -> Drainer:
    return Drainer(engine, counters, {}, FakeClock(START), IDS)


def stopped(engine: Engine) -> bool:
    with reading(engine) as session:
        return stops.stopped(session) is not None


def rows(engine: Engine, table: Any) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)))


def total(engine: Engine) -> int:
    with reading(engine) as session:
        return sum(ledger.totals(session).values())


async def put(redis: Redis, hashes: dict[str, dict[Any, Any]]) -> None:
    for key, fields in hashes.items():
        await redis.hset(key, mapping=fields)


async def hashes(redis: Redis) -> dict[str, dict[Any, Any]]:
    found = {key: await redis.hgetall(key) for key in (live_key(0), drain_key(0))}
    return {key: fields for key, fields in found.items() if fields}


async def test_why_a_partition_is_reset(drainer: Drainer, engine: Engine, redis: Redis) -> None:
    """Emptied, half lost, set back: each has its name, in the metric and with the epoch; what was
    counted comes again."""
    lane = KeepingLane(redis)
    counters = drainer.counters

    async def lose(reason: Reason) -> None:
        drainer.reasons.clear()
        await drainer.drain_all(1)
        assert drainer.reasons == {reason: 1}
        assert rows(engine, Epoch)[-1].reason == reason
        await lane.flush()
        await lane.flush()
        await drainer.drain_all(1)
        assert total(engine) == sum(quantity for _, quantity in lane.kept[0])

    async def aside() -> None:
        lane.record(0, 7)
        await lane.flush()
        head = await counters.head(0)
        assert await counters.set_aside(0, epoch=head.epoch, last=head.last, new_id=IDS())

    lane.record(0, 5)
    await lane.flush()
    earlier = await hashes(redis)
    await drainer.drain_all(1)
    await redis.flushall()
    await lose(Reason.EMPTY)
    await aside()
    await redis.delete(drain_key(0))
    await lose(Reason.LOST_ASIDE)
    await aside()
    await redis.delete(live_key(0))
    await lose(Reason.LOST_LIVE)
    await aside()
    with_aside = await hashes(redis)
    await drainer.drain_all(1)
    lane.record(0, 9)
    await lane.flush()
    await drainer.drain_all(1)
    for state in (with_aside, earlier):
        await redis.flushall()
        await put(redis, state)
        await lose(Reason.STALE)
    assert not stopped(engine)


async def test_killed_between_the_epoch_and_the_reset(
    drainer: Drainer, engine: Engine, redis: Redis
) -> None:
    """The epochs differ: it is begun anew, and what Redis held is kept once."""
    lane = KeepingLane(redis)
    lane.record(0, 5)
    await lane.flush()
    await redis.hset(live_key(0), "last", "of nobody")
    for _ in range(3):
        dying = drainer_of(engine, Stopping(redis, "reset"))
        await dying.drain_all(1)
        assert isinstance(dying.failure, MeteringUnavailable)
    await drainer.drain_all(1)
    assert len(rows(engine, Salvage)) == 1
    assert not stopped(engine)
    await lane.flush()
    await drainer.drain_all(1)
    assert total(engine) == 5


async def test_a_redis_that_mended_itself_is_not_reset(
    drainer: Drainer, engine: Engine, redis: Redis
) -> None:
    """A stale replica answered once, then the master again: what is read last decides."""
    with reading(engine) as session:
        place = ledger.place(session, 0)
    resetter = Resetter(engine, drainer.counters, FakeClock(START), IDS)
    assert await resetter.reset(0, place) is None
    assert await resetter.reset(0, Place(place.epoch, "elsewhere")) is None
    assert len(rows(engine, Epoch)) == 2


async def test_ids_that_redis_named_are_known_from_then_on(
    drainer: Drainer, engine: Engine, redis: Redis
) -> None:
    """So a ledger that was set back is found so once, and another such state is found again."""
    await redis.hset(live_key(0), mapping={"epoch": "forgotten", "committed": "forgotten too"})
    state = await hashes(redis)
    await drainer.drain_all(1)
    assert drainer.reasons == {Reason.SET_BACK: 1}
    assert stopped(engine)
    await redis.flushall()
    await put(redis, state)
    await drainer.drain_all(1)
    assert drainer.reasons == {Reason.SET_BACK: 1, Reason.STALE: 1}
    await redis.hset(live_key(0), "epoch", "forgotten by another one")
    await drainer.drain_all(1)
    assert drainer.reasons[Reason.SET_BACK] == 2


async def test_two_control_planes_at_one_reset(
    drainer: Drainer, engine: Engine, redis: Redis
) -> None:
    """The second finds that SQL did not stand still, and does nothing."""
    await redis.flushall()
    with reading(engine) as session:
        place = ledger.place(session, 0)
    resetter = Resetter(engine, drainer.counters, FakeClock(START), IDS)
    first = resetter.start_epoch(0, place, (None, None))
    assert first is not None
    assert resetter.start_epoch(0, place, (None, None)) is None
