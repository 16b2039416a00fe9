"""Instances that exist at KooGallery already: taken over once, whole or not at all, and never billed
for what they used before."""

import json
import os
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.closing import Closer
from billing_sync.drain import Drainer
from billing_sync.errors import ImportRefused
from billing_sync.key_making import KeyMaker
from billing_sync.key_models import ApiKey
from billing_sync.market_models import OpeningTotal
from billing_sync.models import Instance, UsageRecord
from billing_sync.store import ledger, taking_over
from billing_sync.store.engine import reading, writing
from billing_sync.store.packages import balances
from billing_sync.store.projections import snapshots
from billing_sync.store.worker import SqlWorker
from billing_sync.takeover_rows import Taken, read
from billing_sync.taking_over import Outcome, Taker
from billing_sync.usage_view import UsageView
from metering.counters import Counters
from metering.windows import HOUR_MS, window_of
from tests.billing_sync.lanes import Lane
from tests.billing_sync.marketplace import CATALOGUE, SECRET
from tests.billing_sync.v1_marketplace import V1Marketplace
from tests.fakes import Ids

pytestmark = pytest.mark.anyio

TOKENS: dict[str, Any] = {
    "instance_id": "old-1",
    "customer_id": "cust-1",
    "customer_name": "Old Buyer",
    "product_id": "TOKENS",
    "order_id": "CS1",
    "order_line_id": "CS1-000001",
    "started": "2026-01-01T00:00:00Z",
    "used": "12.3456",
}
PACK: dict[str, Any] = {
    "instance_id": "old-2",
    "customer_id": "cust-1",
    "product_id": "PACK",
    "order_id": "CS2",
    "order_line_id": "CS2-000001",
    "started": "2026-01-01T00:00:00Z",
    "expires": "2028-01-01T00:00:00Z",
    "linear_value": 2,
    "used": {"old-1": "40"},
}


class Desk:
    """An installation that takes instances over."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.market = V1Marketplace(engine)
        self.taker = Taker(
            SqlWorker(engine),
            CATALOGUE,
            KeyMaker(SECRET, os.urandom),
            self.market.clock,
            self.market._changed,
        )

    async def take(self, *rows: Any, dry: bool = False) -> Outcome:
        raw = json.dumps(rows).encode()
        return await self.taker.run(raw, as_json=True, dry=dry)

    def rows(self, table: Any) -> list[Any]:
        with reading(self.engine) as session:
            return list(session.exec(select(table)).all())


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


async def test_an_instance_as_the_file_says_it(desk: Desk) -> None:
    """It can be used at once: status, dates, buyer, key, and the notice to the gateways."""
    assert await desk.take(PACK, TOKENS | {"trial": True}) == (2, 0, [])
    assert desk.market.changes == 1
    with reading(desk.engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    told = {i.instance_id: (i.product_id, i.status, i.trial) for i in snapshot.instances}
    assert told == {
        "old-1": ("TOKENS", "active", True),
        "old-2": ("PACK", "active", False),
    }
    assert (snapshot.name, len(snapshot.keys)) == ("Old Buyer", 1)
    made = {row.id: row for row in desk.rows(Instance)}
    assert made["old-1"].started == 1_767_225_600_000
    assert made["old-1"].recorded_until == desk.market.clock.now_ms()
    assert (made["old-2"].is_package, made["old-2"].linear_value) == (True, 2)
    assert made["old-2"].expires == 1_830_297_600_000


async def test_a_dry_run_takes_nothing(desk: Desk) -> None:
    """It says what a real one would do."""
    assert await desk.take(TOKENS, PACK, dry=True) == (2, 0, [])
    assert desk.rows(Instance) == desk.rows(ApiKey) == []
    assert desk.market.changes == 0


async def test_the_same_file_twice(desk: Desk) -> None:
    """The second time changes nothing, whatever became of the instances meanwhile."""
    await desk.take(TOKENS, PACK)
    desk.market.clock.advance(seconds=5)
    desk.market.orders.buy("U1", "IMAGES")
    order = {"orderId": "U1", "orderLineId": "U1-000001"}
    up = await desk.market.call("upgradeInstance", instanceId="old-1", **order)
    freeze = await desk.market.call("updateInstanceStatus", instanceId="old-2", status="FREEZE")
    assert up["resultCode"] == freeze["resultCode"] == "000000"
    before = desk.rows(Instance), desk.rows(OpeningTotal), desk.rows(ApiKey)
    assert await desk.take(TOKENS, PACK) == (0, 2, [])
    assert (desk.rows(Instance), desk.rows(OpeningTotal), desk.rows(ApiKey)) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"product_id": "NONE"}, "product NONE is not in `products:`"),
        ({"started": "2036-01-01"}, "started is in the future"),
        ({"expires": "2025-01-01"}, "expires is before started"),
        ({"billed_until": "2036-01-01"}, "billed_until is in the future"),
        ({"billed_until": "2025-12-31"}, "billed_until is before started"),
        ({"used": {"old-2": 1}}, "used names old-2, but this is no package"),
    ],
)
async def test_one_wrong_line_stops_all(desk: Desk, change: dict[str, Any], said: str) -> None:
    """Nothing is taken over, and the line is named."""
    outcome = await desk.take(PACK | {"used": ""}, TOKENS | change)
    assert [line for line, _ in outcome.problems] == [2]
    assert said in outcome.problems[0].text
    assert desk.rows(Instance) == []


@pytest.mark.parametrize(
    ("used", "said"),
    [
        ({"ghost": 1}, "no instance that the package is for"),
        ({"old-2": 1}, "no instance that the package is for"),
        ({"other": 1}, "another customer's"),
        ({"old-1": "200.0001"}, "more of TOKENS is used than the package holds"),
    ],
)
async def test_nonsense_about_packages(desk: Desk, used: dict[str, Any], said: str) -> None:
    """A package gives to its buyer's instances, and no more than it holds."""
    other = TOKENS | {"instance_id": "other", "customer_id": "cust-2", "order_id": "CS3"}
    outcome = await desk.take(TOKENS, other, PACK | {"used": used})
    assert [(line, said in text) for line, text in outcome.problems] == [(3, True)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customer_id": "cust-2"}, "is there already, with customer_id cust-1"),
        ({"product_id": "IMAGES", "used": "12"}, "with product_id TOKENS"),
        ({"order_id": "CS9"}, "with order_id CS1"),
        ({"used": "13"}, "with other opening totals"),
        ({"used": ""}, "with other opening totals"),
        ({"instance_id": "new"}, "its order line is instance old-1 already"),
    ],
)
async def test_what_contradicts_the_ledger(desk: Desk, change: dict[str, Any], said: str) -> None:
    """A file is never allowed to overwrite what is there."""
    await desk.take(TOKENS)
    ((_, text),) = (await desk.take(TOKENS | change)).problems
    assert said in text


async def test_instances_of_the_configuration(desk: Desk) -> None:
    """They are not the marketplace's to be taken over."""
    with writing(desk.engine) as session:
        session.add(Instance(id="old-1", source="static", status="active", started=1))
    ((_, text),) = (await desk.take(TOKENS)).problems
    assert "belongs to the configuration" in text


async def test_callbacks_find_what_was_taken_over(desk: Desk) -> None:
    """A repeated creation gets the old id, V2.0 by its line, V1.0 by order and product."""
    v1 = {"order_id": "V1", "order_line_id": "", "used": ""}
    images = {"instance_id": "old-3", "product_id": "IMAGES"}
    await desk.take(TOKENS, TOKENS | v1 | {"instance_id": "old-4"}, TOKENS | v1 | images)
    asked = desk.market.orders.asked
    again = await desk.market.create("CS1")
    assert (again["resultCode"], again["instanceId"]) == ("000000", "old-1")
    assert desk.market.orders.asked == asked
    assert await desk.market.v1_bought("V1", productId="IMAGES", chargingMode="0") == "old-3"
    assert await desk.market.v1_bought("V1", productId="TOKENS", chargingMode="0") == "old-4"
    assert len(desk.rows(Instance)) == 3


class Crash(Exception):
    """The process dies here."""


async def test_a_crash_between_the_batches(desk: Desk) -> None:
    """What was committed stays; the same file again takes over the rest."""
    rows = [
        TOKENS | {"instance_id": f"i{n}", "order_id": f"CS{n}", "customer_id": f"c{n % 7}"}
        for n in range(120)
    ]
    raw = json.dumps(rows).encode()

    class Dying(SqlWorker):
        """Dies before its second commit."""

        commits = 0

        async def write(self, job: Any) -> Any:
            self.commits += 1
            if self.commits == 2:
                raise Crash
            return await super().write(job)

    dying = Taker(
        Dying(desk.engine), CATALOGUE, KeyMaker(SECRET, os.urandom), desk.market.clock, print
    )
    with pytest.raises(Crash):
        await dying.run(raw, as_json=True, dry=False)
    assert len(desk.rows(Instance)) == 50
    assert await desk.taker.run(raw, as_json=True, dry=False) == (70, 50, [])
    assert (len(desk.rows(Instance)), len(desk.rows(OpeningTotal))) == (120, 120)
    assert len(desk.rows(ApiKey)) == 7


def rows_of(*rows: Any) -> list[Taken]:
    return read(json.dumps(rows).encode(), as_json=True).rows


async def test_a_crash_within_a_batch(desk: Desk) -> None:
    """It leaves nothing of it."""
    (row,) = rows_of(TOKENS)

    def die() -> None:
        with writing(desk.engine) as session:
            _, key = KeyMaker(SECRET, os.urandom).make()
            taking_over.add(session, row, {"old-1": 5}, key, 1, package=False)
            raise Crash

    with pytest.raises(Crash):
        die()
    assert desk.rows(Instance) == desk.rows(OpeningTotal) == desk.rows(ApiKey) == []


async def test_one_that_came_up_meanwhile(desk: Desk) -> None:
    """It is named, and nothing of the batch is there."""
    rows = rows_of(PACK | {"used": ""}, TOKENS)
    with reading(desk.engine) as session:
        plan = desk.taker._plan(session, rows)
    await desk.take(TOKENS)
    with pytest.raises(ImportRefused, match="line 2: instance old-1 came up meanwhile"):
        await desk.taker._take(plan)
    assert [row.id for row in desk.rows(Instance)] == ["old-1"]


async def test_what_was_used_before_is_shown_and_never_billed(desk: Desk, redis: Redis) -> None:
    """Totals go on where they stood; records hold what was used since, and begin after it."""
    ledger.set_up(desk.engine, 1, Ids())
    counters, clock = Counters(redis), desk.market.clock
    drainer = Drainer(desk.engine, counters, CATALOGUE, clock, Ids("drain"))
    await drainer.drain(0)
    view = UsageView(desk.engine, counters, CATALOGUE, 1, clock)
    await desk.take(TOKENS, PACK)
    taken_at = clock.now_ms()

    async def shown() -> dict[str, Any]:
        figures = await view.for_instances(["old-1", "old-2"])
        return {i: [(f.related_instance_id, f.value) for f in each] for i, each in figures.items()}

    assert await shown() == {
        "old-1": [(None, Decimal("12.3460"))],  # whole tokens: 12,345.6 counts as 12,346
        "old-2": [("old-1", Decimal(40))],
    }
    clock.advance(seconds=60)
    window = window_of(clock.now_ms())
    key = {"instance_id": "old-1", "meter": "tokens_total", "window": window}
    await Lane(redis).count(0, 2500, **key)
    assert await drainer.drain(0)
    assert await shown() == {
        "old-1": [(None, Decimal("14.8460"))],
        "old-2": [("old-1", Decimal("42.5"))],
    }
    with reading(desk.engine) as session:
        held = balances(session, {"cust-1"}, CATALOGUE, clock.now_ms())
    assert [balance.left for each in held.values() for balance in each] == [200_000 - 42_500]
    clock.time_ms = (clock.now_ms() // HOUR_MS + 1) * HOUR_MS + 2000
    through = clock.now_ms() // HOUR_MS * HOUR_MS
    Closer(desk.engine, CATALOGUE).close(0, through_ms=through, now_ms=clock.now_ms())
    (record,) = desk.rows(UsageRecord)
    assert (record.instance_id, record.value) == ("old-1", "2.5000")
    assert record.begin >= taken_at


async def test_totals_of_another_meter(desk: Desk, redis: Redis) -> None:
    """After an upgrade to another meter the old total is not added to what it cannot be added to."""
    ledger.set_up(desk.engine, 1, Ids())
    await desk.take(TOKENS)
    desk.market.clock.advance(seconds=1)
    desk.market.orders.buy("U1", "IMAGES")
    order = {"orderId": "U1", "orderLineId": "U1-000001"}
    await desk.market.call("upgradeInstance", instanceId="old-1", **order)
    view = UsageView(desk.engine, Counters(redis), CATALOGUE, 1, desk.market.clock)
    (figure,) = (await view.for_instances(["old-1"]))["old-1"]
    assert figure.value == 0
