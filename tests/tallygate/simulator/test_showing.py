"""The simulated time and what can be looked at, over the control interface."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from tests.tallygate.simulator.stage import NOW_MS, Stage, record, staged, unserved

pytestmark = pytest.mark.anyio
HOUR_MS = 3_600_000
PRICED = {
    "product_id": "priced",
    "cycle": "hour",
    "price": {"mode": "tier", "bands": [{"up_to": "3", "unit_price": "2"}, {"unit_price": "1"}]},
}
PACK = {"product_id": "gift", "kind": "ON_DEMAND_PKG", "quotas": {"priced": "1"}}


async def bought(stage: Stage) -> str:
    """A pay-per-use instance with a package of one unit, an hour old."""
    await stage.sim("PUT", "/products", {"products": [PRICED, PACK]})
    await stage.open(await stage.sell("gift"))
    [instance] = (await stage.open(await stage.sell("priced")))["instances"]
    stage.clock.time_ms += HOUR_MS
    return str(instance["instance_id"])


async def test_a_month_in_a_moment():
    """The clock leaps over many collections; each was made at its own time."""
    async with staged(collect_at_minute=15, validation_delay=30) as stage:
        instance_id = await bought(stage)
        await stage.push(record(instance_id, usage_value="2.5"))
        assert (await stage.sim("GET", "/sdrs"))["sdrs"][0]["state"] == "pending"
        moved = await stage.sim("PUT", "/clock", {"forward_ms": 30 * 24 * HOUR_MS})
        assert moved["now_ms"] == NOW_MS + 721 * HOUR_MS
        [sdr] = (await stage.sim("GET", "/sdrs?state=collected"))["sdrs"]
        run_ms = NOW_MS // HOUR_MS * HOUR_MS + HOUR_MS + 900_000
        assert (sdr["collected_ms"], sdr["late"]) == (run_ms, False)
        assert await stage.sim("GET", "/collected") == {instance_id: "2.5"}
        [bill] = (await stage.sim("GET", f"/bills?instance_id={instance_id}"))["bills"]
        assert (bill["usage"], bill["charged"], bill["amount"]) == ("2.5", "1.5", "3.0")
        [(package_id, used)] = (await stage.sim("GET", "/packages")).items()
        assert (bill["deducted"], used) == ({package_id: "1"}, {"priced": "1"})
        [run] = (await stage.sim("GET", "/runs"))["runs"]
        assert run == {"cycle": "hour", "run_ms": run_ms, "records": 1, "late": 0}


async def test_csv():
    """The console's export, in both languages."""
    async with staged() as stage:
        instance_id = await bought(stage)
        await stage.push(record(instance_id), record(instance_id, 60, usage_value="0"))
        await stage.sim("POST", "/collect")
        reply = await stage.http.get("/_sim/sdrs.csv")
        assert reply.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(reply.text)))
        assert [row["status"] for row in rows] == ["collected", "refused"]
        assert rows[1]["reason"] == "usage_value must be above 0"
        assert sum(Decimal(row["usage_value"]) for row in rows) == Decimal("1.5")
        assert (await stage.http.get("/_sim/sdrs.csv?lang=zh")).text.startswith("话单编号,")
        assert (await stage.http.get("/_sim/sdrs.csv?lang=de")).status_code == 400


async def test_upgrade():
    """Another product under the same id; the order query knows the CHANGE order."""
    async with staged() as stage:
        [instance] = (await stage.open(await stage.sell("chat")))["instances"]
        path = f"/instances/{instance['instance_id']}/upgrade"
        answered = await stage.sim("POST", path, {"product_id": "speech", "linear_value": 2})
        assert answered["findings"] == []
        body: Any = stage.merchant.bodies[-1]
        assert body["activity"] == "upgradeInstance"
        reply = await stage.query_order(f"orderId={body['orderId']}")
        info = reply.json()["orderInfo"]
        assert info["orderType"] == "CHANGE"
        assert info["orderLine"][0]["productInfo"][0]["linearValue"] == 2
        [known] = (await stage.sim("GET", "/instances"))["instances"]
        assert (known["product_id"], known["quantity"]) == ("speech", 2)


async def test_debug_upgrade_changes_nothing():
    """testFlag 1 has no business effect; unknown fields are refused."""
    async with staged() as stage:
        [instance] = (await stage.open(await stage.sell("chat")))["instances"]
        path = f"/instances/{instance['instance_id']}/upgrade"
        await stage.sim("POST", path, {"product_id": "speech", "test_flag": True})
        assert stage.merchant.bodies[-1]["testFlag"] == "1"
        [known] = (await stage.sim("GET", "/instances"))["instances"]
        assert known["product_id"] == "chat"
        assert (await stage.http.post(f"/_sim{path}", json={"sku": 1})).status_code == 400


async def test_faults_are_shown():
    """As they were ordered."""
    async with unserved() as http:
        await http.post("/_sim/faults", json={"push": [{"kind": "throttle", "times": 2}]})
        shown = (await http.get("/_sim/faults")).json()
        assert shown["push"] == [{"kind": "throttle", "times": 2}]


@pytest.mark.parametrize(
    "body", [{}, {"now_ms": -1}, {"now_ms": 1, "forward_ms": 1}, {"forward_ms": -1}, {"to": 1}]
)
async def test_bad_times(body):
    """Either a time or a way forward."""
    async with unserved() as http:
        assert (await http.put("/_sim/clock", json=body)).status_code == 400


async def test_clock_is_set():
    """And goes on from there."""
    async with unserved() as http:
        assert (await http.put("/_sim/clock", json={"now_ms": 5})).json()["now_ms"] == 5
        assert (await http.get("/_sim/health")).json()["now_ms"] == 5
