"""Applications for licences: sent, repeated with the same parameters, and waited for."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from tallygate.simulator.app import build_app
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.licensing import Asked
from tallygate.simulator.models import Instance, Kind, Product
from tests.tallygate.simulator.kit_merchant import Call, KitMerchant
from tests.tallygate.simulator.stage import NOW_MS, HandClock, settings
from tests.tallygate.simulator.test_license_desk import signed, text_form
from tests.tallygate.simulator.test_multipart import TYPE

pytestmark = pytest.mark.anyio

INSTANCE = Instance(
    "i-1", "CS1", "CS1-000001", Product("lic", "Licence", Kind.PERIOD), "cust", NOW_MS
)


class Maker:
    """A merchant who uploads a licence for each application, and the market he does it to."""

    def __init__(self, spoil: Callable[[Call], object] = lambda call: None) -> None:
        self.merchant = KitMerchant(self._answer)
        self.market = Simulator(settings(poll_attempts=3), HandClock(), self.merchant)
        self._spoil = spoil
        self.licence: Callable[[Any], str] = lambda body: f"for {body['deviceFingerprint']}"

    def _answer(self, call: Call) -> None:
        if call.code == "000003":  # he knows the instance
            call.code = "000000"
        self._spoil(call)
        if call.code in ("000000", "000004") and self.licence(call.body):
            path = f"/api/mkp-openapi-public/global/v1/market-event/{call.body['eventId']}/file"
            self.market.desk.answer(signed(path, text_form(self.licence(call.body)), TYPE))

    async def asked(self, **fields: object) -> Asked:
        return await self.market.licensing.ask(INSTANCE, {"deviceFingerprint": "d", **fields})


async def test_a_licence_is_asked_for_and_comes() -> None:
    """With an end, for it is of a period, in the format of the page."""
    maker = Maker()
    asked = await maker.asked()
    assert asked.findings == []
    assert asked.wish.delivered
    assert asked.wish.fields["effectiveTime"] == "2026-09-21 14:13:20 z"
    assert "expireTime" in asked.wish.fields
    assert asked.as_json()["license"]["licenses"][0]["characters"] == "for d"  # type: ignore[index]


async def test_it_is_repeated_unchanged() -> None:
    """The same eventId is the same application, whatever the clock says."""
    maker = Maker()
    first = await maker.asked(eventId="e-1")
    second = await maker.asked(eventId="e-1", deviceFingerprint="other")
    assert second.wish is first.wish
    assert second.findings == []
    assert len(first.wish.uploads) == 1
    assert first.wish.answers == ["000000", "000000"]


async def test_another_licence_the_second_time() -> None:
    """Is a finding."""
    maker = Maker()
    numbers = iter(range(9))
    maker.licence = lambda body: f"number {next(numbers)}"
    await maker.asked(eventId="e-1")
    await maker.asked(eventId="e-1")
    checks = [each["check"] for each in maker.market.findings.as_json()]
    assert "license-changed" in checks


async def test_it_is_retried() -> None:
    """What failed goes again with the same parameters."""
    failures = iter(["000005", "000000"])

    def fail(call: Call) -> None:
        call.code = next(failures)

    maker = Maker(fail)
    asked = await maker.asked()
    assert asked.wish.answers == ["000005", "000000"]
    assert [finding.check for finding in asked.findings] == ["result-code"]


async def test_a_licence_that_never_comes() -> None:
    """Is a finding after the success."""
    maker = Maker()
    maker.licence = lambda body: ""
    with anyio.fail_after(5):
        asked = await maker.asked()
    assert [finding.message for finding in asked.findings] == ["the licence was never uploaded"]


async def test_an_expected_refusal() -> None:
    """Is none."""

    def refuse(call: Call) -> None:
        call.code = "000900"

    asked = await Maker(refuse).market.licensing.ask(INSTANCE, {}, frozenset({"000900"}))
    assert asked.findings == []
    assert not asked.wish.delivered


async def test_the_handle() -> None:
    """POST /_sim/instances/ID/license, and the list."""
    made = settings(production_url="http://merchant/koogallery", poll_attempts=1)
    app = build_app(made, HandClock(), KitMerchant())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as http:
        reply = await http.post("/_sim/instances/i-1/license", json={})
        assert reply.status_code == 404
        assert (await http.get("/_sim/licenses")).json() == {"licenses": []}
