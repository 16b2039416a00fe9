"""Where corrections show: in UsageInfo, in metrics."""

from decimal import Decimal

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.store import suspense
from billing_sync.store.engine import reading
from billing_sync.usage_view import UsageView
from metering.counters import Counters
from tests.billing_sync.correcting import SELLING, Desk
from tests.billing_sync.test_telemetry import samples, telemetry_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(engine: Engine) -> Desk:
    desk = Desk(engine)
    desk.books.buy("i")
    return desk


async def test_a_lifetime_includes_what_was_adjusted_and_assigned(desk: Desk, redis: Redis) -> None:
    """It goes down by an adjustment and by nothing else, and never below zero."""
    view = UsageView(desk.books.engine, Counters(redis), SELLING, 1, desk.books.clock)

    async def lifetime() -> Decimal:
        (figure,) = (await view.for_instances(["i"]))["i"]
        return figure.value

    desk.serve(2000, "i")
    desk.serve(500)
    assert await lifetime() == 2
    desk.assign()
    assert await lifetime() == Decimal("2.5")
    desk.adjust(-750)
    assert await lifetime() == Decimal("1.75")
    desk.adjust(-5000, id="a2")
    assert await lifetime() == 0
    desk.adjust(5000, id="a3")
    assert await lifetime() == Decimal("1.75")


async def test_open_suspense_by_product(desk: Desk, redis: Redis) -> None:
    """The metric shows what nobody has assigned."""
    desk.serve(70)
    desk.serve(3, meter="requests")
    desk.assign(50)
    with reading(desk.books.engine) as session:
        assert suspense.open_by_product(session) == {"TOKENS": 20, "CALLS": 3}
    shown = samples(telemetry_of(desk.books.engine, redis))
    assert shown["billing_sync_suspense{product=TOKENS}"] == 20
