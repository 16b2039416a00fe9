"""Reconciling after suspense was assigned: a person's booking is no use that the journals lack."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.correcting import Corrector
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.push_log import PushLog
from metering.catalogue import Product, catalogue
from metering.windows import HOUR_MS
from tallygate.reconciliation.terms import Place
from tests.tallygate.site import HOUR, PARTITIONS, NewLane, Site

pytestmark = pytest.mark.anyio

SELLING = catalogue(
    [Product(product_id="TOKENS", routes=["chat"], meter="tokens_total", unit=1000)]
)


@pytest.fixture
async def site(tmp_path: Path, redis: Redis, engine: Engine, new_lane: NewLane) -> Site:
    """Where the route sells tokens."""
    site = Site(tmp_path, redis, engine, new_lane)
    site.drainer.catalogue = SELLING
    await site.drain()
    return site


async def test_assigned_usage_is_no_difference(site: Site) -> None:
    """It is compared as the customer's, where it was counted; the rest is compared as before."""
    site.call(tokens=500)
    site.call(tokens=100)
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.buy("i")
    corrector = Corrector(
        site.engine, PushLog(site.folder / "push"), SELLING, PARTITIONS, site.clock
    )
    asked = AssignmentAsked("s1", "a", "i", "li", "his", quantity=1100)
    assert corrector.assign(asked).row.quantity == 1100
    corrector.adjust(AdjustmentAsked("a1", "i", "li", "because", quantity=-5))
    site.call(instance="i", tokens=4)
    await site.flush()
    await site.drain()
    report = await site.report()
    assert report.exact
    held = {row.place: row.held for row in report.rows}
    assert held[Place(HOUR, "a", "", "tokens_total")].quantity == 1200
    assert held[Place(HOUR + 1, "a", "i", "tokens_total")].quantity == 8
    assigned = held[Place(HOUR, "a", "i", "tokens_total")]
    assert (assigned.quantity, assigned.assigned) == (0, 1100)
