"""Raw callbacks."""

import pytest
from starlette.applications import Starlette

from tests.tallygate.simulator.stage import serving, staged, unserved

pytestmark = pytest.mark.anyio
RELEASE = {"activity": "releaseInstance", "instanceId": "i-1"}
CREATE = {
    "activity": "newInstance",
    "orderId": "CS1",
    "orderLineId": "CS1-000001",
    "businessId": "b-1",
}


async def test_tampers():
    """A good merchant answers each with its code, and nothing is found."""
    expected = {
        "none": "000000",
        "signature": "000001",
        "missing_signature": "000001",
        "nonce": "000001",
        "body": "000001",
        "timestamp": "000002",
        "future_timestamp": "000002",
        "missing_timestamp": "000002",
        "missing_nonce": "000002",
    }
    async with staged() as stage:
        for tamper, code in expected.items():
            answered = await stage.sim("POST", "/callback", {"body": RELEASE, "tamper": tamper})
            assert (tamper, answered["reply"]["resultCode"]) == (tamper, code)
            assert answered["findings"] == []


async def test_merchant_who_believes_anything():
    """Success for a wrong signature is a finding."""
    async with staged() as stage:
        stage.merchant._verify = lambda *_: ""  # type: ignore[method-assign]
        answered = await stage.sim("POST", "/callback", {"body": RELEASE, "tamper": "signature"})
        assert [finding["check"] for finding in answered["findings"]] == ["result-code"]


async def test_replay():
    """The second sending of the very same bytes must not succeed."""
    async with staged() as stage:
        wanted = {"body": RELEASE, "tamper": "replay", "repeat": 2}
        answered = await stage.sim("POST", "/callback", wanted)
        codes = [each["reply"]["resultCode"] for each in answered["replies"]]
        assert (codes, answered["findings"]) == (["000000", "000002"], [])
        assert stage.merchant.heard[0] == stage.merchant.heard[1]


async def test_repeat():
    """Each repetition has its own nonce, and of newInstance its own businessId."""
    async with staged() as stage:
        answered = await stage.sim("POST", "/callback", {"body": CREATE, "repeat": 3})
        assert answered["findings"] == []
        assert len({heard["nonce"] for heard in stage.merchant.heard}) == 3
        assert len({body["businessId"] for body in stage.merchant.bodies}) == 3


async def test_repeat_with_different_ids():
    """One order line, two instance ids: found."""
    async with staged() as stage:
        other = {"resultCode": "000000", "resultMsg": "success", "instanceId": "i-other"}
        stage.merchant.script("newInstance", other)
        answered = await stage.sim("POST", "/callback", {"body": CREATE, "repeat": 2})
        assert [finding["check"] for finding in answered["findings"]] == ["idempotency"]


async def test_expected_code():
    """Who expects 000003 finds nothing in it."""
    async with staged() as stage:
        stage.merchant.script("releaseInstance", {"resultCode": "000003", "resultMsg": "unknown"})
        wanted = {"body": RELEASE, "expect": "000003"}
        assert (await stage.sim("POST", "/callback", wanted))["findings"] == []


async def test_text_goes_out_as_it_is():
    """Malformed bodies can be sent, and are signed all the same."""
    async with staged() as stage:
        wanted = {"body": '{"activity":"releaseInstance", "instanceId":null}'}
        answered = await stage.sim("POST", "/callback", wanted)
        assert answered["http_status"] == 200
        assert stage.merchant.bodies == [{"activity": "releaseInstance", "instanceId": None}]


async def test_unreachable_merchant():
    """No reply is a finding, not an error of the simulator."""
    async with serving(Starlette()) as [gone]:
        pass
    async with staged(production_url=gone) as stage:
        answered = await stage.sim("POST", "/callback", {"body": RELEASE})
        assert answered["http_status"] is None
        assert [finding["check"] for finding in answered["findings"]] == ["reachable"]


async def test_no_production_address():
    """The answer says how to set it."""
    async with unserved() as http:
        refused = await http.post("/_sim/callback", json={"body": RELEASE})
        assert refused.status_code == 409
        assert "PUT /_sim/settings" in refused.json()["error"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"tamper": "x"},
        {"repeat": 0},
        {"repeat": 101},
        {"expect": "42"},
        {"boby": {}},
        [],
    ],
    ids=str,
)
async def test_bad_requests(wanted):
    """Refused with the name of the field."""
    async with unserved() as http:
        assert (await http.post("/_sim/callback", json=wanted)).status_code == 400
