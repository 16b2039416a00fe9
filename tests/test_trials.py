"""A trial from its order to what its buyer is told, across both planes."""

import pytest
from sqlalchemy import Engine

from billing_sync.koogallery.fields import utc_ms
from billing_sync.store.engine import reading
from billing_sync.store.projections import snapshots
from gateway.statuses import Standing, standing_of
from metering.entitlement import from_json, to_json
from tests.billing_sync.v1_marketplace import V1Marketplace

pytestmark = pytest.mark.anyio

END, YEAR = "20270101000000", "20280101000000"
END_MS = utc_ms("expireTime", END)


def standing(engine: Engine, now_ms: int) -> Standing:
    """How the gateways see the only instance, by what stands in Redis."""
    with reading(engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    (instance,) = from_json(to_json(snapshot)).instances
    return standing_of(instance, now_ms)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_trial_ends_and_becomes_formal(engine: Engine, version: int) -> None:
    """It passes as a trial, is over on the day, and after the conversion is like any other."""
    market = V1Marketplace(engine)
    if version == 1:
        made = await market.v1_bought("CS1", trialFlag="1", expireTime=END)
    else:
        market.orders.buy("CS1", trial=True, expires=END_MS)
        made = str((await market.create("CS1"))["instanceId"])
    assert standing(engine, END_MS - 1) is Standing.TRIAL
    assert standing(engine, END_MS) is Standing.TRIAL_OVER
    market.clock.advance(seconds=1)
    order = {"instanceId": made, "orderId": "F1", "expireTime": YEAR}
    if version == 1:
        answer = await market.v1("refreshInstance", trialToFormal="1", **order)
    else:
        scene = {"scene": "TRIAL_TO_FORMAL", "orderLineId": "F1-000001"}
        answer = await market.call("refreshInstance", **order, **scene)
    assert answer["resultCode"] == "000000"
    assert standing(engine, END_MS) is Standing.ACTIVE
