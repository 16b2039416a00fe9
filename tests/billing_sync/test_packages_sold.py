"""Packages from the order to UsageInfo: signed callbacks, counters in Redis, drains, records."""

from decimal import Decimal
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.closing import Closer
from billing_sync.drain import Drainer
from billing_sync.models import Instance, UsageRecord
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from billing_sync.usage_view import UsageView
from metering.catalogue import Package, PackageItem, Product, catalogue
from metering.counters import Counters
from metering.windows import HOUR_MS, window_of
from tests.billing_sync.lanes import Lane
from tests.billing_sync.marketplace import Marketplace
from tests.fakes import Ids

pytestmark = pytest.mark.anyio

MESSAGES = Package(
    items=[
        PackageItem(of="SMS", quota=Decimal(100)),
        PackageItem(of="MMS", quota=Decimal(50)),
    ]
)
PRODUCTS = catalogue(
    [
        Product(product_id="SMS", meter="sms", routes=["send"]),
        Product(product_id="MMS", meter="mms", routes=["send"]),
        Product(product_id="MESSAGES", package=MESSAGES),
        Product(
            product_id="MESSAGES-STOP",
            package=MESSAGES.model_copy(update={"stop_before_excess": True}),
        ),
    ]
)


class Shop:
    """KooGallery, our callbacks, a gateway's lane, the drain and the close on one ledger."""

    def __init__(self, engine: Engine, redis: Redis) -> None:
        self.market = Marketplace(engine, PRODUCTS)
        self.clock = self.market.clock
        self.lane = Lane(redis)
        counters = Counters(redis)
        self.drainer = Drainer(engine, counters, PRODUCTS, self.clock, Ids("drain"))
        self.market.service.view.figures = UsageView(engine, counters, PRODUCTS, 1, self.clock)
        self.market.service.view.budget_s = 30.0  # real stores, on a busy machine
        self.engine = engine

    async def send(self, sms: str, mms: str, *, short: int, multimedia: int) -> None:
        """Calls that charge both instances, counted by a gateway and drained."""
        for instance_id, meter, quantity in ((sms, "sms", short), (mms, "mms", multimedia)):
            key = {"instance_id": instance_id, "meter": meter, "route": "send"}
            window = window_of(self.clock.now_ms())
            await self.lane.count(0, quantity, window=window, **key)
        assert await self.drainer.drain(0)

    async def usage_info(self, instance_id: str) -> list[tuple[str | None, Decimal]]:
        """What queryInstance answers."""
        answer = await self.market.call("queryInstance", instanceId=instance_id)
        assert answer["resultCode"] == "000000"
        entries: list[dict[str, Any]] = answer["info"][0]["usageInfo"]
        assert all(entry["statisticalTime"] for entry in entries)
        return [(e.get("relatedInstanceId"), Decimal(str(e["usageValue"]))) for e in entries]

    def close(self) -> list[tuple[str, str, str]]:
        """Close the hour; its records as (instance, value, package), oldest first."""
        self.clock.time_ms = (self.clock.now_ms() // HOUR_MS + 1) * HOUR_MS + 2000
        now_ms = self.clock.now_ms()
        through = now_ms // HOUR_MS * HOUR_MS
        Closer(self.engine, PRODUCTS).close(0, through_ms=through, now_ms=now_ms)
        with reading(self.engine) as session:
            found = session.exec(select(UsageRecord)).all()
        ordered = sorted(found, key=lambda record: (record.instance_id, record.begin))
        return [(r.instance_id, r.value, r.relate_pkg_instance) for r in ordered]


@pytest.fixture
async def shop(engine: Engine, redis: Redis) -> Shop:
    ledger.set_up(engine, 1, Ids())
    made = Shop(engine, redis)
    await made.drainer.drain(0)
    return made


async def test_sms_and_mms_of_one_package(shop: Shop) -> None:
    """A package with 100 SMS and 50 MMS has two entries, each with the pay-per-use instance it gave
    to (spec §2.7); what is beyond it is pay-per-use, in one plain record each."""
    sms = await shop.market.bought("order-1", "SMS")
    mms = await shop.market.bought("order-2", "MMS")
    pack = await shop.market.bought("order-3", "MESSAGES")
    assert sorted(await shop.usage_info(pack)) == sorted([(sms, Decimal(0)), (mms, Decimal(0))])
    await shop.send(sms, mms, short=30, multimedia=20)
    assert dict(await shop.usage_info(pack)) == {sms: 30, mms: 20}
    await shop.send(sms, mms, short=30, multimedia=45)
    assert dict(await shop.usage_info(pack)) == {sms: 60, mms: 50}
    assert await shop.usage_info(sms) == [(None, Decimal(60))]
    assert await shop.usage_info(mms) == [(None, Decimal(65))]
    expected = [(sms, "60.0000", ""), (mms, "65.0000", "")]
    assert shop.close() == sorted(expected)


async def test_sms_and_mms_of_a_package_that_stops(shop: Shop) -> None:
    """The same two entries; the records name the package, and what is beyond it is in none."""
    sms = await shop.market.bought("order-1", "SMS")
    mms = await shop.market.bought("order-2", "MMS")
    pack = await shop.market.bought("order-3", "MESSAGES-STOP")
    await shop.send(sms, mms, short=30, multimedia=65)
    assert dict(await shop.usage_info(pack)) == {sms: 30, mms: 50}
    assert shop.close() == sorted([(sms, "30.0000", pack), (mms, "50.0000", pack)])


async def test_thirty_packages_in_one_order(shop: Shop) -> None:
    """A line each, created at once: each gets its own instance, and keeps it when asked again."""
    lines = range(1, 31)
    for number in lines:
        shop.market.orders.buy("order", "MESSAGES", number=number, linear_value=number)
    made: dict[int, str] = {}

    async def create(number: int) -> None:
        answer = await shop.market.create("order", number)
        assert answer["resultCode"] == "000000"
        assert made.setdefault(number, answer["instanceId"]) == answer["instanceId"]

    for _ in range(2):
        async with anyio.create_task_group() as group:
            for number in lines:
                group.start_soon(create, number)
    with reading(shop.engine) as session:
        rows = {row.id: row for row in session.exec(select(Instance))}
    assert len(rows) == len(set(made.values())) == 30
    assert {number: rows[made[number]].linear_value for number in lines} == {n: n for n in lines}
    assert all(row.is_package and row.status == "active" for row in rows.values())
    answer = await shop.market.call("queryInstance", instanceId=",".join(made.values()))
    assert answer["resultCode"] == "000000"
    assert len(answer["info"]) == 30
