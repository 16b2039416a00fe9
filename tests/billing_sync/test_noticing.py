"""orderNotify: kept once, learnt later."""

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.market_models import OrderNotice
from billing_sync.models import OrderLine
from billing_sync.store import awaited
from billing_sync.store.engine import reading
from tests.billing_sync.marketplace import Marketplace

pytestmark = pytest.mark.anyio

CALL = {"orderId": "CS1", "orderLineId": "CS1-000001"}
FINE = {"resultCode": "000000", "resultMsg": "success"}


async def test_an_order_is_told_of_once_and_learnt(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it comes; what was ordered is asked for until it is known."""
    market = Marketplace(engine)
    for _ in range(2):
        assert await market.call("orderNotify", **CALL) == FINE
    assert caplog.text.count("somebody has to deliver it") == 1
    assert await market.service.resolve() == 0
    market.orders.buy("CS1", "SURPRISE")
    market.clock.advance(seconds=5)
    assert await market.service.resolve() == 1
    with reading(engine) as session:
        assert session.exec(select(OrderLine.product_id)).one() == "SURPRISE"
        assert session.exec(select(OrderNotice.known)).one() == market.clock.now_ms()
        assert awaited.waiting(session) == {"change": 0, "notice": 0}
    asked = market.orders.asked
    market.clock.advance(seconds=3600)
    assert await market.service.resolve() == 0
    assert market.orders.asked == asked


async def test_debugging_leaves_nothing(engine: Engine) -> None:
    """testFlag=1 is answered from the call alone; a field that lacks is named."""
    market = Marketplace(engine)
    assert await market.call("orderNotify", testFlag="1", **CALL) == FINE
    with reading(engine) as session:
        assert awaited.waiting(session) == {"change": 0, "notice": 0}
    answer = await market.call("orderNotify", orderId="CS1")
    assert answer == {"resultCode": "000002", "resultMsg": "orderLineId is missing"}
