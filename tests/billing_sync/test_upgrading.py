"""upgradeInstance, as KooGallery sends it (spec §2.11)."""

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from billing_sync.models import Instance, LifecycleInbox, OrderLine, ProjectionOutbox
from billing_sync.store.engine import reading, writing
from billing_sync.upgrade_models import Upgrade
from tests.billing_sync.marketplace import Marketplace

pytestmark = pytest.mark.anyio


@pytest.fixture
def market(engine: Engine) -> Marketplace:
    return Marketplace(engine)


async def bought(market: Marketplace, order_id: str = "o") -> str:
    """A running instance of TOKENS."""
    market.orders.buy(order_id)
    reply = await market.call(
        "newInstance", orderId=order_id, orderLineId=f"{order_id}-000001", businessId="b"
    )
    market.clock.advance(seconds=100)
    return str(reply["instanceId"])


async def upgrade(market: Marketplace, instance_id: str, order_id: str = "u") -> str:
    """The result code."""
    reply = await market.call(
        "upgradeInstance",
        instanceId=instance_id,
        orderId=order_id,
        orderLineId=f"{order_id}-000001",
    )
    return str(reply["resultCode"])


def upgrades(market: Marketplace) -> list[Upgrade]:
    with reading(market.engine) as session:
        return list(session.exec(select(Upgrade)))


def product_of(market: Marketplace, instance_id: str) -> str:
    with reading(market.engine) as session:
        return session.get_one(Instance, instance_id).product_id


async def test_it_goes_on_with_the_product_of_its_order(market: Marketplace) -> None:
    """The gateways hear of it, and closing finds what to end; a repeat changes nothing."""
    instance_id = await bought(market)
    with writing(market.engine) as session:
        session.delete(session.get_one(ProjectionOutbox, "cust-1"))
    market.orders.buy("u", "IMAGES")
    assert await upgrade(market, instance_id) == "000000"
    assert product_of(market, instance_id) == "IMAGES"
    (row,) = upgrades(market)
    now_ms = market.clock.now_ms()
    assert (row.old_product_id, row.new_product_id, row.at) == ("TOKENS", "IMAGES", now_ms)
    assert (row.settled, row.partition) == (0, 0)
    with reading(market.engine) as session:
        assert session.get(ProjectionOutbox, "cust-1") is not None
        assert session.get_one(OrderLine, ("u", "u-000001")).product_id == "IMAGES"
    market.orders.down = True
    assert await upgrade(market, instance_id) == "000000"
    assert len(upgrades(market)) == 1


async def test_without_its_order_nothing_is_done(market: Marketplace) -> None:
    """KooGallery is told to call again, and then it is done."""
    instance_id = await bought(market)
    assert await upgrade(market, instance_id) == "000005"
    market.orders.down = True
    assert await upgrade(market, instance_id) == "000005"
    assert (product_of(market, instance_id), upgrades(market)) == ("TOKENS", [])
    market.orders.down = False
    market.orders.buy("u", "IMAGES", customer_id="")
    assert await upgrade(market, instance_id) == "000000"
    assert product_of(market, instance_id) == "IMAGES"


async def test_of_an_instance_that_is_not_there(market: Marketplace) -> None:
    """Unknown, or released: no success that would promise the buyer something."""
    assert await upgrade(market, "nobody") == "000003"
    instance_id = await bought(market)
    await market.call("releaseInstance", instanceId=instance_id)
    market.clock.advance(seconds=1)
    market.orders.buy("u", "IMAGES")
    assert await upgrade(market, instance_id) == "000003"
    assert product_of(market, instance_id) == "TOKENS"


async def test_of_an_instance_whose_buyer_is_not_known_yet(market: Marketplace) -> None:
    """Its own order is asked for first."""
    fields = {"orderId": "o", "orderLineId": "o-000001", "businessId": "b"}
    reply = await market.call("newInstance", **fields)
    assert reply["resultCode"] == "000004"
    market.orders.buy("u", "IMAGES")
    assert await upgrade(market, reply["instanceId"]) == "000005"
    market.orders.buy("o")
    assert await upgrade(market, reply["instanceId"]) == "000000"
    assert product_of(market, reply["instanceId"]) == "IMAGES"


async def test_a_frozen_instance_stays_frozen(market: Marketplace) -> None:
    """The upgrade is not what it waits for."""
    instance_id = await bought(market)
    await market.call("updateInstanceStatus", instanceId=instance_id, status="FREEZE")
    market.orders.buy("u", "IMAGES")
    assert await upgrade(market, instance_id) == "000000"
    with reading(market.engine) as session:
        instance = session.get_one(Instance, instance_id)
        assert (instance.status, instance.product_id) == ("frozen", "IMAGES")


async def test_to_the_same_product(market: Marketplace) -> None:
    """More of the same is no reason to end a record."""
    instance_id = await bought(market)
    market.orders.buy("u", "TOKENS")
    assert await upgrade(market, instance_id) == "000000"
    assert upgrades(market) == []
    with reading(market.engine) as session:
        told = select(LifecycleInbox.activity).order_by(col(LifecycleInbox.id))
        activities = session.exec(told).all()
    assert activities == ["newInstance", "upgradeInstance"]


async def test_debugging_changes_nothing(market: Marketplace) -> None:
    """Saved cases are replayed for ever (spec §9)."""
    reply = await market.call(
        "upgradeInstance", instanceId="x", orderId="o", orderLineId="l", testFlag="1"
    )
    assert reply["resultCode"] == "000000"
    assert upgrades(market) == []
