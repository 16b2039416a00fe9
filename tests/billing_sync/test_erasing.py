"""What is known of buyers goes fifteen days after their release, and what bills rest on stays."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.erasing import Eraser
from billing_sync.key_models import ApiKey
from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.market_models import Erasure
from billing_sync.models import CustomerRow, Instance, LifecycleInbox, OrderLine
from billing_sync.store import erasing
from billing_sync.store.engine import reading, writing
from billing_sync.store.freezing import freezes_of
from billing_sync.store.projections import snapshots
from billing_sync.store.worker import SqlWorker
from tests.billing_sync.kit_marketplace import KitMarketplace
from tests.billing_sync.marketplace import Marketplace
from tests.billing_sync.v1_marketplace import V1Marketplace

pytestmark = pytest.mark.anyio

DAY_S = 86_400
KEEP_MS = 15 * DAY_S * 1000


@pytest.fixture
def market(engine: Engine) -> Marketplace:
    return Marketplace(engine)


@pytest.fixture
def eraser(market: Marketplace) -> Eraser:
    return Eraser(SqlWorker(market.engine), market.clock, KEEP_MS, market._changed)


def rows(engine: Engine, table: Any) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)).all())


async def released(market: Marketplace, *orders: str) -> list[str]:
    made = [await market.bought(order) for order in orders]
    for instance_id in made:
        await market.call("releaseInstance", instanceId=instance_id)
    return made


async def test_data_outlive_the_release_by_fifteen_days(
    market: Marketplace, eraser: Eraser
) -> None:
    """To the millisecond; then body, name and keys are gone, and ids, times and answers stay."""
    (made,) = await released(market, "CS1")
    market.clock.advance(ms=KEEP_MS - 1)
    assert await eraser.run() == 0
    assert all(row.body for row in rows(market.engine, LifecycleInbox))
    market.clock.advance(seconds=60)
    changes = market.changes
    assert await eraser.run() == 1
    assert market.changes == changes + 1
    assert {row.body for row in rows(market.engine, LifecycleInbox)} == {""}
    assert [(row.raw, row.customer_name) for row in rows(market.engine, OrderLine)] == [("", "")]
    assert [row.name for row in rows(market.engine, CustomerRow)] == [""]
    assert rows(market.engine, ApiKey) == []
    (kept,) = rows(market.engine, Instance)
    assert (kept.id, kept.customer_id, kept.order_id) == (made, "cust-1", "CS1")
    (done,) = rows(market.engine, Erasure)
    assert (done.instance_id, done.at) == (made, market.clock.now_ms())
    assert (done.callbacks, done.keys, done.named) == (2, 1, True)
    with reading(market.engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    assert (snapshot.name, snapshot.keys, snapshot.instances) == ("", (), ())


async def test_an_erased_instance_answers_as_before(market: Marketplace, eraser: Eraser) -> None:
    """Repeats of its callbacks get the answers they got, and nothing comes back."""
    (made,) = await released(market, "CS1")
    market.clock.advance(ms=KEEP_MS)
    await eraser.run()
    asked = market.orders.asked
    assert (await market.create("CS1"))["instanceId"] == made
    assert (await market.call("releaseInstance", instanceId=made))["resultCode"] == "000000"
    refused = await market.call("updateInstanceStatus", instanceId=made, status="UNFREEZE")
    assert refused["resultCode"] == "000003"
    assert market.orders.asked == asked
    assert rows(market.engine, ApiKey) == []


async def test_frozen_instances_are_kept(market: Marketplace, eraser: Eraser) -> None:
    """However long the release takes: until it the buyer may renew."""
    made = await market.bought("CS1")
    await market.call("updateInstanceStatus", instanceId=made, status="FREEZE")
    market.clock.advance(seconds=400 * DAY_S)
    assert await eraser.run() == 0
    assert rows(market.engine, ApiKey)


async def test_a_buyer_who_has_more(market: Marketplace, eraser: Eraser) -> None:
    """His name and key stay with his other instance; the gateways hear no more of the first."""
    await released(market, "CS1")
    kept = await market.bought("CS2")
    market.clock.advance(ms=KEEP_MS)
    assert await eraser.run() == 1
    with reading(market.engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    assert (snapshot.name, len(snapshot.keys)) == ("Name of cust-1", 1)
    assert [each.instance_id for each in snapshot.instances] == [kept]
    names = {row.order_id: row.customer_name for row in rows(market.engine, OrderLine)}
    assert names == {"CS1": "", "CS2": "Name of cust-1"}


async def test_a_buyer_who_comes_back(market: Marketplace, eraser: Eraser) -> None:
    """He gets his name and a new key; who was shut out does not."""
    await released(market, "CS1")
    market.orders.buy("CS3", customer_id="cust-2")
    shut_out = str((await market.create("CS3"))["instanceId"])
    with writing(market.engine) as session:
        query = select(ApiKey).where(ApiKey.customer_id == "cust-2")
        session.exec(query).one().revoked = market.clock.now_ms()
    await market.call("releaseInstance", instanceId=shut_out)
    market.clock.advance(ms=KEEP_MS)
    assert await eraser.run() == 2
    assert [row.sealed for row in rows(market.engine, ApiKey)] == [""]
    await market.bought("CS2")
    await market.bought("CS4", buyer="cust-2")
    live = [row.customer_id for row in rows(market.engine, ApiKey) if not row.revoked]
    assert live == ["cust-1"]
    assert {row.name for row in rows(market.engine, CustomerRow)} == {
        "Name of cust-1",
        "Name of cust-2",
    }


async def test_many_are_erased_in_parts(market: Marketplace, eraser: Eraser) -> None:
    """A hundred at once, until none is left; then it looks once a minute."""
    with writing(market.engine) as session:
        for number in range(150):
            row = Instance(id=f"i{number}", status="released", started=1, released=1)
            session.add(row)
    assert [await eraser.run() for _ in range(3)] == [100, 50, 0]
    market.clock.advance(seconds=60)
    assert await eraser.run() == 0


class Crash(Exception):
    """The process dies here."""


async def test_a_crash_erases_nothing(market: Marketplace) -> None:
    """A batch is one transaction."""
    await released(market, "CS1")

    def die() -> None:
        with writing(market.engine) as session:
            assert erasing.erase(session, market.clock.now_ms(), 5, 9)
            raise Crash

    with pytest.raises(Crash):
        die()
    assert rows(market.engine, Erasure) == []
    assert all(row.body for row in rows(market.engine, LifecycleInbox))


async def test_keys_an_operator_made_go_too(market: Marketplace, eraser: Eraser) -> None:
    """Nobody is left who could call with them."""
    await released(market, "CS1")
    with writing(market.engine) as session:
        session.add(ApiKey(customer_id="cust-1", digest="d", created=1, source="operator"))
    market.clock.advance(ms=KEEP_MS)
    await eraser.run()
    assert rows(market.engine, ApiKey) == []


async def test_when_it_was_frozen_is_still_known(engine: Engine) -> None:
    """Usage may come in late, and is judged by the freezes of its time: expiries of renewals stay."""
    market = V1Marketplace(engine)
    eraser = Eraser(SqlWorker(engine), market.clock, KEEP_MS, market._changed)
    made = await market.v1_bought("CS1")
    call = {"instanceId": made, "orderId": "R1"}
    for activity, more in (
        ("expireInstance", {}),
        ("refreshInstance", {"expireTime": "20300101000000", "saasExtendParams": "secret"}),
        ("expireInstance", {}),
        ("releaseInstance", {}),
    ):
        market.clock.advance(seconds=60)
        assert (await market.v1(activity, **call, **more))["resultCode"] == "000000"

    def frozen() -> Any:
        with reading(engine) as session:
            return freezes_of(session, session.exec(select(Instance)).all())

    before = frozen()
    assert len(before[made]) == 1
    market.clock.advance(ms=KEEP_MS)
    assert await eraser.run() == 1
    assert frozen() == before
    assert not any("secret" in row.body for row in rows(engine, LifecycleInbox))


async def test_what_the_kit_told_goes_too(engine: Engine, tmp_path: Path) -> None:
    """Tenants, applications, people and departments of that instance; nothing brings them back."""
    market = KitMarketplace(engine, tmp_path)
    kept = await market.settled()
    market.instance = gone = await market.bought("CS2")
    for sync in ("tenantSync", "applicationSync", "authSync", "singleOrgSync"):
        assert await market.v2(sync) == "000000"
    deleted = market.body("authSync", flag=0)
    await market.call("releaseInstance", instanceId=gone)
    market.clock.advance(ms=KEEP_MS)
    eraser = Eraser(SqlWorker(engine), market.clock, KEEP_MS, market._changed)
    assert await eraser.run() == 1
    assert (await market.post_v2("authSync", deleted)).json()["resultCode"] == "000000"
    for table in (KitTenant, KitApp, KitUser):
        assert [row.instance_id for row in rows(engine, table)] == [kept]
    assert rows(engine, KitOrg) == []
    found = market.access()
    assert found
    assert found.instance_ids == (kept,)
