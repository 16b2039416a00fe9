"""What the doctor sees of keys and the open API, against the simulator's."""

from typing import Any

import httpx
import pytest

from billing_sync.settings import KooGallerySettings
from tallygate.doctor.marketplace import look_at_keys, look_at_open_api
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.settings import SimulatorSettings
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
DATE = "Mon, 21 Sep 2026 14:13:25 GMT"


def settings(**more: Any) -> KooGallerySettings:
    return KooGallerySettings.model_validate({"base_url": "https://mkt", **more})


class WithDate(httpx.AsyncBaseTransport):
    """The simulator, telling a time."""

    def __init__(self, date: str = DATE) -> None:
        made = SimulatorSettings(access_key="key", ak="ak", sk="sk")
        self._simulator = Simulator(made, FakeClock(NOW_MS))
        self._behind = self._simulator.transport()
        self._date = date

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await self._behind.handle_async_request(request)
        reply.headers["date"] = self._date
        return reply


async def looked(transport: httpx.AsyncBaseTransport, **more: Any) -> dict[str, str]:
    async with httpx.AsyncClient(transport=transport) as http:
        found = await look_at_open_api(http, settings(**more), FakeClock(NOW_MS))
    return {f"{each.about}: {each.state.value}": each.text for each in found}


async def test_good_keys() -> None:
    """A mock order is answered, and the clocks agree."""
    found = await looked(WithDate(), ak="ak", sk="sk")
    assert list(found) == ["clock: ok", "open API: ok"]


async def test_wrong_keys() -> None:
    """The refusal is told; the secret is not."""
    found = await looked(WithDate(), ak="ak", sk="wrong-secret")
    assert "check koogallery.ak" in found["open API: finding"]
    assert "wrong-secret" not in str(found)


@pytest.mark.parametrize(
    ("date", "state"),
    [("Mon, 21 Sep 2026 14:20:00 GMT", "finding"), ("soon", "note"), ("", "note")],
)
async def test_clocks(date: str, state: str) -> None:
    """Half of what a timestamp may be off is too much."""
    found = await looked(WithDate(date), ak="ak", sk="sk")
    assert f"clock: {state}" in found


async def test_nobody_there() -> None:
    """Also when its certificate is not to be trusted."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("certificate verify failed", request=request)

    found = await looked(httpx.MockTransport(refuse), ak="ak", sk="sk")
    assert "certificate verify failed" in found["open API: finding"]


async def test_without_keys() -> None:
    """Nothing is asked, and it is said what is missing."""
    assert await looked(WithDate()) == {}
    assert [each.state.value for each in look_at_keys(settings())] == ["finding", "note"]
    whole = settings(access_key="k", ak="ak", sk="sk")
    assert [each.state.value for each in look_at_keys(whole)] == ["ok"]
