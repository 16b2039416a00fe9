"""The operator's listener, and how the customers' one is put together."""

from typing import Any

import httpx
import pytest

from gateway.app import build_admin
from gateway.shared_metrics import OwnMetrics
from gateway.telemetry import Telemetry
from tests.gateway.running import KEY, gateway
from tests.servers import upstream

pytestmark = pytest.mark.anyio


async def get(path: str, *, reason: str | None = None, telemetry: Telemetry | None = None) -> Any:
    """The admin application's reply."""
    app = build_admin(
        OwnMetrics((telemetry or Telemetry()).registry()), lambda: reason, lambda: {"records": 3}
    )
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


def test_a_worker_that_does_not_know_who_may_call_says_so(shell: str) -> None:
    """Also for a head it knows, until it is opened again; nothing is recorded or sent on."""
    with upstream(lambda request: request.reply(b"")) as up, gateway(up.url) as gw:
        with gw.connect() as connection:

            def status() -> int:
                connection.request("GET", "/v1/x", headers={"Authorization": f"Bearer {KEY}"})
                reply = connection.getresponse()
                said.append(reply.read())
                retry.append(reply.getheader("retry-after"))
                return reply.status

            said: list[bytes] = []
            retry: list[str | None] = []
            assert [status() for _ in range(4)] == [200] * 4
            gw.public.shut(True)
            assert [status(), status()] == [503, 503]
            assert b'"entitlements_stale"' in said[-1]
            assert retry[-1] == "5"
            gw.public.shut(False)
            assert [status(), status()] == [200, 200]
        assert len(up.requests) == len(gw.kept.records) == 6
