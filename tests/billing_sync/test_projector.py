"""Entitlements on their way to a real Redis, which may be away, emptied, or older than we think."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from anyio import from_thread
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.key_models import ApiKey
from billing_sync.models import CustomerRow, Instance
from billing_sync.projector import COMPARE_MS, Projector
from billing_sync.store import projections
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import Pending
from metering import entitlements
from metering.connection import connect
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringUnavailable
from tests.billing_sync.books import START
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio
T = TypeVar("T")


def buy(engine: Engine, customer_id: str, status: str = "active") -> None:
    """A customer with a key and an instance, and the notice to the gateways."""
    with writing(engine) as session:
        session.add(CustomerRow(id=customer_id, name=customer_id))
        session.add(ApiKey(customer_id=customer_id, digest=f"d-{customer_id}", created=1))
        given = {"customer_id": customer_id, "product_id": "P", "started": 1}
        session.add(Instance(id=f"i-{customer_id}", status=status, **given))  # type: ignore[arg-type]
        projections.enqueue(session, customer_id, START)


def change(engine: Engine, customer_id: str, status: str) -> None:
    """Its status changes, without a notice."""
    with writing(engine) as session:
        session.get_one(Instance, f"i-{customer_id}").status = status


def waiting(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return [row.customer_id for row in projections.pending_projections(session, 10)]


async def there(redis: Redis) -> dict[str, EntitlementSnapshot]:
    return {s.customer_id: s for s in (await entitlements.get_all(redis)).snapshots}


async def status(redis: Redis, customer_id: str) -> str:
    snapshot = await entitlements.get(redis, customer_id)
    assert snapshot is not None
    return snapshot.instances[0].status


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def projector(engine: Engine, redis: Redis, clock: FakeClock) -> Projector:
    return Projector(engine, redis, clock)


async def test_a_change_reaches_redis(engine: Engine, redis: Redis, projector: Projector) -> None:
    """And its row is gone."""
    buy(engine, "a")
    buy(engine, "b", "frozen")
    assert await projector.project_pending() == 2
    assert waiting(engine) == []
    assert (await there(redis)).keys() == {"a", "b"}
    assert await status(redis, "b") == "frozen"
    assert await projector.project_pending() == 0
    assert projector.projected == 2


async def test_a_stranger_in_the_queue_is_done_with(engine: Engine, projector: Projector) -> None:
    """Somebody who is no customer has nothing to be told."""
    with writing(engine) as session:
        projections.enqueue(session, "nobody", START)
    await projector.project_pending()
    assert waiting(engine) == []


async def test_a_redis_that_is_away(engine: Engine, redis: Redis, clock: FakeClock) -> None:
    """The row stays, and goes when Redis is back."""
    buy(engine, "a")
    away = connect("unix:///nowhere/valkey.sock")
    with pytest.raises(MeteringUnavailable):
        await Projector(engine, away, clock).run()
    assert waiting(engine) == ["a"]
    await Projector(engine, redis, clock).run()
    assert waiting(engine) == []
    await away.aclose()


class Stopping(Projector):
    """Is killed before it deletes the rows; `meanwhile` happens just then."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def _finish(self, rows: list[projections.Pending]) -> None:
        self.meanwhile()
        raise RuntimeError("killed")


async def test_killed_before_the_row_was_deleted(
    engine: Engine, redis: Redis, clock: FakeClock, projector: Projector
) -> None:
    """It is put again, which changes nothing."""
    buy(engine, "a")
    with pytest.raises(RuntimeError):
        await Stopping(engine, redis, clock).project_pending()
    assert waiting(engine) == ["a"]
    before = await there(redis)
    assert await projector.project_pending() == 1
    assert await there(redis) == before


async def test_a_change_while_it_was_put(engine: Engine, redis: Redis, clock: FakeClock) -> None:
    """The row that was renewed stays, and the newer state follows."""

    class Slow(Projector):
        turns = 0

        def _finish(self, rows: list[projections.Pending]) -> None:
            self.turns += 1
            if self.turns == 1:
                with writing(engine) as session:
                    session.get_one(Instance, "i-a").status = "released"
                    projections.enqueue(session, "a", START)
            super()._finish(rows)

    buy(engine, "a")
    assert await Slow(engine, redis, clock).project_pending() == 2
    assert await status(redis, "a") == "released"


async def test_at_its_start_redis_is_compared(
    engine: Engine, redis: Redis, projector: Projector
) -> None:
    """Whoever is missing or differs is projected; the others are left in peace."""
    for name in ("same", "stale", "missing"):
        buy(engine, name)
    await projector.project_pending()
    await redis.hdel(entitlements.KEY, "missing")
    await redis.hset(entitlements.KEY, "stranger", "no snapshot")
    change(engine, "stale", "released")
    heir = Projector(engine, redis, projector.clock)
    await heir.run()
    assert heir.projected == 2
    assert (await there(redis)).keys() == {"same", "stale", "missing"}
    assert await status(redis, "stale") == "released"


async def test_an_unreadable_entry_is_written_anew(
    engine: Engine, redis: Redis, projector: Projector
) -> None:
    """What stands there is not believed."""
    buy(engine, "a")
    await redis.hset(entitlements.KEY, "a", "no snapshot")
    with writing(engine) as session:
        projections.projection_done(session, "a", START)
    await projector.run()
    assert await status(redis, "a") == "active"


async def test_it_compares_once_a_minute(
    engine: Engine, redis: Redis, projector: Projector, clock: FakeClock
) -> None:
    """Not at every turn; a Redis that was set back is healed within the minute."""
    buy(engine, "a")
    await projector.run()
    await redis.delete(entitlements.KEY)
    clock.advance(ms=COMPARE_MS - 1)
    await projector.run()
    assert await there(redis) == {}
    clock.advance(ms=1)
    await projector.run()
    assert (await there(redis)).keys() == {"a"}


async def test_lost_counters_mean_lost_entitlements(
    engine: Engine, redis: Redis, clock: FakeClock
) -> None:
    """Who emptied Redis emptied all of it: everyone is back at the next turn."""
    losses = 0
    projector = Projector(engine, redis, clock, lambda: losses)
    buy(engine, "a")
    await projector.run()
    await redis.flushall()
    losses = 64
    await projector.run()
    assert (await there(redis)).keys() == {"a"}
    await redis.delete(entitlements.KEY)
    await projector.run()
    assert await there(redis) == {}  # that loss was seen to


async def test_a_comparison_that_failed_is_made_again(
    engine: Engine, redis: Redis, clock: FakeClock
) -> None:
    """Redis may go away in the middle of it."""
    projector = Projector(engine, redis, clock)
    buy(engine, "a")
    await projector.project_pending()
    await redis.delete(entitlements.KEY)
    projector.redis = connect("unix:///nowhere/valkey.sock")
    with pytest.raises(MeteringUnavailable):
        await projector.run()
    await projector.redis.aclose()
    projector.redis = redis
    await projector.run()
    assert (await there(redis)).keys() == {"a"}


async def test_more_than_one_batch(engine: Engine, redis: Redis, projector: Projector) -> None:
    """All of them, however many."""
    with writing(engine) as session:
        session.add_all(CustomerRow(id=f"c{number}") for number in range(1100))
    await projector.run()
    assert len(await there(redis)) == 1100


class Overtaken(Projector):
    """Another control plane does all it has to between our look at the ledger and what we say."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.first: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def _snapshots(self, customer_ids: list[str]) -> list[EntitlementSnapshot]:
        return self._overtaken(super()._snapshots(customer_ids))

    def _waiting(self) -> tuple[list[Pending], list[EntitlementSnapshot]] | None:
        return self._overtaken(super()._waiting())

    def _overtaken(self, read: T) -> T:
        if self.first:
            from_thread.run(self.first.pop())
        return read


@pytest.mark.parametrize("way", ["project_pending", "project_differing"])
async def test_the_newest_is_what_stays(
    engine: Engine, redis: Redis, projector: Projector, way: str
) -> None:
    """Not what a slower control plane read before it changed: a revoked key would live on."""
    buy(engine, "a")
    slow = Overtaken(engine, redis, projector.clock)

    async def freeze() -> None:
        change(engine, "a", "frozen")
        with writing(engine) as session:
            projections.enqueue(session, "a", START)
        await projector.project_pending()

    slow.first = [freeze]
    await getattr(slow, way)()
    assert await status(redis, "a") == "frozen"
    assert waiting(engine) == []
