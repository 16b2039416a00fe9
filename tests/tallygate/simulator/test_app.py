"""The application as a whole: who may use its handles, and when it collects by itself."""

import anyio
import httpx
import pytest

from tallygate.simulator.app import build_app, is_loopback
from tests.tallygate.simulator.stage import HandClock, Stage, record, settings, staged, unserved

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("testclient", False),
    ],
)
def test_loopback(host, loopback):
    """Addresses of this machine, in every spelling."""
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.1", 200), ("192.0.2.1", 403)])
async def test_handles_are_for_this_machine(peer, status):
    """Others may call the open API only."""
    transport = httpx.ASGITransport(build_app(settings(), HandClock()), client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as http:
        assert (await http.get("/_sim/health")).status_code == status
        api = "/api/mkp-openapi-public/global/v1/order/query?orderId=MOCKONDEMAND"
        assert (await http.get(api)).status_code == 401


async def until_collected(stage: Stage) -> None:
    with anyio.fail_after(5):
        while True:
            if (await stage.sim("GET", "/sdrs"))["sdrs"][0]["state"] == "collected":
                return
            await anyio.sleep(0.02)


async def test_unknown_path():
    """404, and no stack trace."""
    async with unserved() as http:
        assert (await http.get("/elsewhere")).status_code == 404
        assert (await http.get("/_sim/elsewhere")).status_code == 404


async def test_collects_every_so_often():
    """With an interval nobody need ask."""
    async with staged(collect_every=0.05) as stage:
        [instance] = (await stage.open(await stage.sell("chat")))["instances"]
        stage.clock.time_ms += 3_600_000
        await stage.push(record(instance["instance_id"]))
        await until_collected(stage)


async def test_collects_at_the_minute():
    """Once the clock passes minute 15, not before."""
    async with staged(collect_at_minute=15) as stage:
        [instance] = (await stage.open(await stage.sell("chat")))["instances"]
        stage.clock.time_ms += 3_600_000
        await stage.push(record(instance["instance_id"]))
        assert (await stage.sim("GET", "/sdrs"))["sdrs"][0]["state"] == "valid"
        stage.clock.time_ms += 120_000
        await until_collected(stage)
