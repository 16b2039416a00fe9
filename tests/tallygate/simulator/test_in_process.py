"""The marketplace as plain objects: no server, no socket, the merchant's app in the same process."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from tallygate.simulator.canonical import canonical
from tallygate.simulator.desk import OLD_PUSH_PATH, ORDER_PATH, PUSH_PATH
from tallygate.simulator.errors import BadRequest
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.models import Item, Kind, Product
from tallygate.simulator.times import parse_compact_time
from tests.tallygate.simulator.stage import (
    NOW_MS,
    HandClock,
    Merchant,
    aksk_headers,
    push_headers,
    record,
    settings,
)

pytestmark = pytest.mark.anyio
HOUR_MS = 3_600_000
CHAT = Product("chat", "Chat", Kind.ON_DEMAND)
PACK = Product("pack", "Pack", Kind.ON_DEMAND_PKG, quotas={"chat": Decimal(100)})


class Scene:
    """A simulator, the merchant it calls, and a client of the merchant's."""

    def __init__(self, **changes: Any) -> None:
        self.clock = HandClock()
        self.merchant = Merchant(self.clock)
        app = Starlette(routes=[Route("/koogallery", self.merchant.answer, methods=["POST"])])
        chosen = settings(collect_at_minute=15, **changes)
        self.market = Simulator(chosen, self.clock, httpx.ASGITransport(app))
        self.market.marketplace.offer([CHAT, PACK, Product("big", "Big", Kind.ON_DEMAND)])
        self.http = httpx.AsyncClient(
            transport=self.market.transport(), base_url="https://mkt.example", timeout=5
        )

    async def bought(self) -> str:
        opened = await self.market.buy("cust-1", Item("chat"))
        assert opened.findings == []
        self.clock.time_ms += HOUR_MS
        return str(opened.instances[0]["instance_id"])

    async def push(self, *records: dict[str, object], path: str = PUSH_PATH) -> httpx.Response:
        body = canonical({"usage_records": records}).encode()
        return await self.http.post(path, content=body, headers=self.headers(body, path))

    def headers(self, body: bytes, path: str = PUSH_PATH) -> dict[str, str]:
        now_ms = self.clock.now_ms()
        if path == OLD_PUSH_PATH:
            return aksk_headers("POST", path, "", body, now_ms, "mkt.example")
        return push_headers(body, now_ms, "mkt.example")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.http.aclose()
    await made.market.close()


async def test_from_the_order_to_the_bill(scene):
    """Bought, used, pushed, and collected while the clock leaps."""
    instance_id = await scene.bought()
    assert (await scene.push(record(instance_id))).json()["error_code"] == "MKT.0000"
    assert scene.market.collected() == {}
    scene.clock.time_ms += 30 * 24 * HOUR_MS
    scene.market.advance()
    assert scene.market.collected() == {instance_id: Decimal("1.5")}
    [bill] = scene.market.bills()
    assert (bill.usage, bill.records) == (Decimal("1.5"), 1)
    run_at = datetime.fromtimestamp(bill.collected_ms / 1000, UTC)
    assert (run_at.hour, run_at.minute) == (15, 15)
    assert scene.market.findings.as_json() == []
    assert scene.market.totals()[instance_id]["collected"] == "1.5"
    assert instance_id in scene.market.sdr_csv()


async def test_push_without_a_client(scene):
    """Body and headers in, status and reply out."""
    body = canonical({"usage_records": [record(await scene.bought())]}).encode()
    assert scene.market.push(body, scene.headers(body)) == (
        200,
        {"error_code": "MKT.0000", "error_msg": "success"},
    )
    assert scene.market.push(body, {})[0] == 401


async def test_old_interface(scene):
    """AK/SK alone; the product is named and the number is not."""
    instance_id = await scene.bought()
    mine = record(instance_id, product_id="chat", metering_sn=None)
    for wrong in (record(instance_id), record(instance_id, product_id="chat")):
        assert (await scene.push(wrong, path=OLD_PUSH_PATH)).json()["error_code"] == "MKT.0101"
    unsigned = await scene.http.post(OLD_PUSH_PATH, json={"usage_records": [mine]})
    assert unsigned.status_code == 401
    assert (await scene.push(mine, path=OLD_PUSH_PATH)).status_code == 200
    assert (await scene.push(mine, path=OLD_PUSH_PATH)).status_code == 200
    scene.market.advance(NOW_MS + 3 * HOUR_MS)
    states = [stored.state.value for stored in scene.market.marketplace.records]
    found = {each["check"] for each in scene.market.findings.as_json()}
    assert (states, found) == (["collected", "repeat"], {"push-refused"})


async def test_order_query(scene):
    """With the quantity that the buyer chose."""
    order = scene.market.order("cust-1", Item("pack", NOW_MS + HOUR_MS, 7))
    query = f"orderId={order.order_id}"
    headers = aksk_headers("GET", ORDER_PATH, query, b"", NOW_MS, "mkt.example")
    reply = (await scene.http.get(f"{ORDER_PATH}?{query}", headers=headers)).json()
    [line] = reply["orderInfo"]["orderLine"]
    assert line["chargingMode"] == "ON_DEMAND_PKG"
    assert line["productInfo"][0]["linearValue"] == 7


async def test_thirty_packages_in_one_order(scene):
    """Thirty lines, thirty instances."""
    opened = await scene.market.buy("cust-1", *[Item("pack", NOW_MS + HOUR_MS)] * 30)
    ids = {str(each["instance_id"]) for each in opened.instances}
    assert len(ids) == 30
    package = scene.market.marketplace.instance(min(ids))
    assert package.expires_ms == NOW_MS + HOUR_MS


async def test_lifecycle(scene):
    """Freeze, unfreeze and release reach the merchant and are remembered with their times."""
    instance_id = await scene.bought()
    instance = scene.market.marketplace.instance(instance_id)
    for action in ("freeze", "freeze", "unfreeze", "release"):
        assert (await scene.market.act(instance_id, action)).findings == []
        scene.clock.time_ms += 1000
    at_ms = NOW_MS + HOUR_MS
    assert instance.freezes == [(at_ms, at_ms + 2000)]
    assert instance.closed_ms == at_ms + 3000


async def test_renewal_moves_the_expiry(scene):
    """Thirty days more than it had; both sides agree when."""
    opened = await scene.market.buy("cust-1", Item("pack", NOW_MS + HOUR_MS))
    instance_id = str(opened.instances[0]["instance_id"])
    await scene.market.act(instance_id, "refresh")
    renewed_ms = (NOW_MS + HOUR_MS + 30 * 24 * HOUR_MS) // 1000 * 1000
    assert parse_compact_time(scene.merchant.bodies[-1]["expireTime"]) == renewed_ms
    assert scene.market.marketplace.instance(instance_id).expires_ms == renewed_ms


async def test_upgrade(scene):
    """The same instance under a CHANGE order; what was used before keeps its product."""
    instance_id = await scene.bought()
    assert (await scene.market.upgrade(instance_id, Item("big"))).findings == []
    body = scene.merchant.bodies[-1]
    assert (body["activity"], body["instanceId"]) == ("upgradeInstance", instance_id)
    order = scene.market.marketplace.order(body["orderId"])
    assert (order.order_type, order.lines[0].order_line_id) == ("CHANGE", body["orderLineId"])
    instance = scene.market.marketplace.instance(instance_id)
    at_ms = NOW_MS + HOUR_MS
    names = [instance.product_at(ms).product_id for ms in (at_ms - 1, at_ms)]
    assert names == ["chat", "big"]


async def test_renewal_with_a_change(scene):
    """Only the scene of that name makes it another product, and only one that is on sale."""
    instance_id = await scene.bought()
    instance = scene.market.marketplace.instance(instance_id)
    await scene.market.act(instance_id, "refresh", {"productId": "big"})
    await scene.market.act(instance_id, "refresh", {"scene": "RENEWAL_CHANGE", "productId": "no"})
    assert instance.product == CHAT
    await scene.market.act(instance_id, "refresh", {"scene": "RENEWAL_CHANGE", "productId": "big"})
    assert instance.product.product_id == "big"


async def test_failed_upgrade_changes_nothing(scene):
    """Nor does one to what is not on sale."""
    instance_id = await scene.bought()
    refused = {"resultCode": "000100", "resultMsg": "no resources"}
    scene.merchant.script("upgradeInstance", refused)
    assert (await scene.market.upgrade(instance_id, Item("big"))).findings
    with pytest.raises(BadRequest):
        await scene.market.upgrade(instance_id, Item("nothing"))
    assert scene.market.marketplace.instance(instance_id).product == CHAT


async def test_lost_answer(scene):
    """The client sees a timeout at once; the records are there."""
    instance_id = await scene.bought()
    scene.market.faults.set({"push": [{"kind": "timeout_after_accept"}]})
    with pytest.raises(httpx.ReadTimeout):
        await scene.push(record(instance_id))
    assert len(scene.market.marketplace.records) == 1


async def test_outage_on_the_simulated_clock(scene):
    """Nobody answers until it is over; the order query goes on."""
    instance_id = await scene.bought()
    now_ms = scene.clock.now_ms()
    outage = {"side": "push", "from_ms": now_ms, "to_ms": now_ms + 60_000}
    scene.market.faults.set({"outages": [outage]})
    with pytest.raises(httpx.ConnectError):
        await scene.push(record(instance_id))
    assert (await scene.http.get(ORDER_PATH)).status_code == 401
    scene.clock.time_ms += 60_000
    assert (await scene.push(record(instance_id))).status_code == 200


async def test_slow_answer(scene):
    """It comes at once, or is too late for the client's patience."""
    for seconds, patient in ((1, True), (6, False)):
        scene.market.faults.set({"order_query": [{"kind": "slow", "seconds": seconds}]})
        try:
            answered = (await scene.http.get(ORDER_PATH)).status_code == 401
        except httpx.ReadTimeout:
            answered = False
        assert answered == patient


async def test_unknown_path(scene):
    """404."""
    assert (await scene.http.get("/elsewhere")).status_code == 404
