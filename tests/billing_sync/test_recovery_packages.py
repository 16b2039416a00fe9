"""A ledger that was set back, and overshoot that waited for a package."""

from decimal import Decimal

import pytest
from redis.asyncio import Redis

from billing_sync.models import Carry
from metering.catalogue import Package, PackageItem, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import METER, START
from tests.billing_sync.recoveries import Plane
from tests.databases import Database

pytestmark = pytest.mark.anyio

NEXT = Package(
    items=[PackageItem(of="TOKENS", quota=Decimal(10))],
    stop_before_excess=True,
    overshoot="next_package",
)
PRODUCTS = catalogue(
    [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        Product(product_id="NEXT", package=NEXT),
    ]
)


@pytest.mark.parametrize("first", ["the lanes", "the command"])
async def test_what_a_package_gave_to_what_waited_is_billed_once(
    database: Database, redis: Redis, first: str
) -> None:
    """Its record comes back from the push log: before or after a drain has deducted it again."""
    plane = Plane(database, redis, PRODUCTS)
    plane.books.buy("i", started=START - HOUR_MS)
    await plane.runner.run_once()
    plane.books.buy("one", "NEXT", started=START - HOUR_MS)
    plane.use("i", 14_000)
    await plane.to_the_next_hour()
    assert plane.books.buckets() == {"overshoot": 4000}
    plane.books.buy("two", "NEXT", started=plane.clock.now_ms())
    plane.back_up()
    plane.use("i", 1000)
    await plane.to_the_next_hour()
    assert (plane.pushed(package="one"), plane.pushed(package="two")) == (Decimal(10), Decimal(5))
    plane.restore()
    if first == "the lanes":
        await plane.runner.sync()
        await plane.flush()
        await plane.runner.sync()
    plane.recover()
    await plane.come_to_rest()
    plane.audit()
    assert (plane.pushed(package="one"), plane.pushed(package="two")) == (Decimal(10), Decimal(5))
    assert plane.books.given() == {("one", "i"): 10_000, ("two", "i"): 5000}
    assert sum(plane.books.buckets().values()) == 0
    assert [row.waiting for row in plane.all(Carry)] == [0] * len(plane.all(Carry))
    plane.engine.dispose()
