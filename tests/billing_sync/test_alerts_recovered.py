"""A ledger that was set back to before its alerts: they are raised again, and are the same ones."""

import pytest
from redis.asyncio import Redis
from sqlmodel import select

from billing_sync.alert_models import Alert
from billing_sync.recovery import recover
from billing_sync.store.engine import reading
from tests.billing_sync.hooks import TERMS
from tests.billing_sync.pushing import log_of
from tests.billing_sync.recoveries import Plane
from tests.databases import Database

pytestmark = pytest.mark.anyio


def ids(plane: Plane) -> dict[str, int]:
    with reading(plane.engine) as session:
        return {row.id: row.threshold for row in session.exec(select(Alert))}


def recovered(plane: Plane) -> None:
    recover(
        plane.engine, log_of(plane.engine), plane.catalogue, plane.clock.now_ms(), terms=TERMS
    )  # fmt: skip


@pytest.mark.parametrize("first", ["the lanes", "the command"])
async def test_a_ledger_that_was_set_back(database: Database, redis: Redis, first: str) -> None:
    """Whoever brings the deduction back brings the alert, under the webhook-id that was told."""
    plane = Plane(database, redis)
    plane.runner.drainer.alerts = TERMS
    plane.books.buy("i")
    plane.books.buy("stop", "STOP")
    plane.use("i", 7_000)
    await plane.flush()
    await plane.runner.sync()
    plane.back_up()
    plane.use("i", 2_500)
    await plane.to_the_next_hour()
    before = ids(plane)
    assert sorted(before.values()) == [80, 95]
    plane.restore()
    plane.runner.drainer.alerts = TERMS
    assert ids(plane) == {}
    if first == "the lanes":
        await plane.runner.sync()
        await plane.flush()
        await plane.runner.sync()
    else:
        recovered(plane)
    assert ids(plane) == before
    if first == "the lanes":
        recovered(plane)
    await plane.come_to_rest()
    plane.audit()
    assert ids(plane) == before
    plane.engine.dispose()
