"""The operator's listener, and how the customers' one is put together."""

from typing import Any

import httpx
import pytest

from gateway.app import build_admin
from gateway.telemetry import Telemetry
from tests.gateway.running import gateway
from tests.servers import upstream

pytestmark = pytest.mark.anyio


async def get(path: str, *, reason: str | None = None, telemetry: Telemetry | None = None) -> Any:
    """The admin application's reply."""
    app = build_admin((telemetry or Telemetry()).registry(), lambda: reason, lambda: {"records": 3})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.get(path)


async def test_a_running_worker_is_healthy() -> None:
    """As long as it answers."""
    reply = await get("/-/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


async def test_readiness_has_a_reason() -> None:
    """503 says what is missing."""
    assert (await get("/-/readyz")).status_code == 200
    reply = await get("/-/readyz", reason="entitlements not loaded")
    assert reply.status_code == 503
    assert reply.json()["reason"] == "entitlements not loaded"


async def test_metrics_are_served_as_text() -> None:
    """In the format Prometheus asks for."""
    telemetry = Telemetry()
    telemetry.answered("chat", 200)
    reply = await get("/-/metrics", telemetry=telemetry)
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'gateway_requests_total{code="2xx",route="chat"} 1.0' in reply.text


async def test_the_journal_is_shown_as_it_is() -> None:
    """Whatever the worker says of it."""
    assert (await get("/-/journal")).json() == {"records": 3}


async def test_admin_paths_are_not_served_to_customers() -> None:
    """On the public listener they are paths without a route."""
    with upstream(lambda request: request.reply(b"")) as up, gateway(up.url) as gw:
        assert gw.ask(target="/-/metrics")[0].status == 404
