"""The handles of the Kit and of licences, with a merchant behind them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tallygate.simulator.app import build_app
from tallygate.simulator.kit_cipher import read_public_key
from tests.tallygate.simulator.kit_merchant import (
    KIT_KEY,
    PUBLIC_PEM,
    Call,
    KitMerchant,
)
from tests.tallygate.simulator.stage import HandClock, settings

pytestmark = pytest.mark.anyio

TENANT = "/_sim/tenants/t-1"


class Known(KitMerchant):
    """Knows every instance."""

    def __init__(self) -> None:
        super().__init__(self._know)

    def _know(self, call: Call) -> None:
        if call.code == "000003":
            call.code = "000000"
            self.taken.append(call)


@pytest.fixture
def merchant() -> Known:
    return Known()


@pytest.fixture
async def sim(merchant: Known) -> AsyncIterator[httpx.AsyncClient]:
    made = settings(
        kit_key=KIT_KEY,
        public_key=read_public_key(PUBLIC_PEM),
        production_url="http://merchant/koogallery",
    )
    app = build_app(made, HandClock(), merchant)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim") as http:
        yield http


async def put(sim: httpx.AsyncClient, path: str, **body: Any) -> Any:
    reply = await sim.put(TENANT + path, json=body)
    assert reply.is_success, reply.text
    assert reply.json()["findings"] == [], reply.text
    return reply.json()


async def gone(sim: httpx.AsyncClient, path: str) -> None:
    reply = await sim.delete(TENANT + path)
    assert reply.is_success, reply.text
    assert reply.json()["findings"] == []


def told(merchant: KitMerchant) -> list[tuple[str, object]]:
    return [(call.name, call.body.get("flag")) for call in merchant.taken]


async def test_a_company_comes_and_goes(sim: httpx.AsyncClient, merchant: Known) -> None:
    """Each change is told as an add, a modify, a delete or a cancel."""
    await put(sim, "", name="Corp", instance_id="i-1", order_id="CS1")
    await put(sim, "", name="Corp Ltd")
    await put(sim, "/apps/app", redirect_uris=["https://m.example.com/back"])
    await put(sim, "/orgs/D-1", name="销售")
    await put(sim, "/people/ada", name="Ada", org_code="D-1", role="admin")
    await put(sim, "/people/ada", name="Ada L", org_code="D-1")
    await put(sim, "/people/bo", name="Bo", org_code="D-1")
    await put(sim, "/orgs", orgs=[{"code": "D-1", "name": "All"}])
    await gone(sim, "/people/ada?cancel=1")
    await gone(sim, "/people/bo")
    await gone(sim, "/orgs/D-1")
    await gone(sim, "/apps/app")
    await gone(sim, "")
    assert told(merchant) == [
        ("tenantSync", 1),
        ("tenantSync", 2),
        ("applicationSync", 1),
        ("singleOrgSync", 1),
        ("authSync", 1),
        ("authSync", 2),
        ("authSync", 1),
        ("allOrgSync", None),
        ("authSync", 3),
        ("authSync", 0),
        ("singleOrgSync", 0),
        ("applicationSync", 0),
        ("tenantSync", 0),
    ]
    assert (await sim.get("/_sim/tenants")).json() == {"tenants": []}
    first = merchant.taken[0].body
    assert (first["instanceId"], first["domainName"], first["testFlag"]) == ("i-1", "http://sim", 0)
    assert first["timeStamp"].startswith("20260921221320")


async def test_in_v1_and_as_text(sim: httpx.AsyncClient, merchant: Known) -> None:
    """Lists are text, and the reply's signature is checked."""
    await put(sim, "", name="Corp", version="V1")
    await put(sim, "/apps/app", version="V1")
    await put(sim, "/people/ada", more={"email": "a@b.c", "mobile": "1"}, version="V1")
    await put(sim, "/people/bo", as_text=True)
    entry = json.loads(merchant.taken[2].body["userList"])[0]
    assert (entry["mobile"], entry["extension"]) == ("1", {"email": "a@b.c"})
    assert json.loads(merchant.taken[3].body["userList"])[0]["userName"] == "bo"
    assert [call.version for call in merchant.taken] == ["V1", "V1", "V1", "V2"]


async def test_many_people_go_in_batches(sim: httpx.AsyncClient, merchant: Known) -> None:
    """Of five hundred."""
    await put(sim, "")
    await put(sim, "/apps/app")
    await put(sim, "/people", people=[{"user_name": f"u-{number}"} for number in range(1001)])
    lists = [call.body["userList"] for call in merchant.taken if call.name == "authSync"]
    assert [len(each) for each in lists] == [500, 500, 1]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"tamper": "signature"}, "000001"),
        ({"tamper": "missing_nonce"}, "000002"),
        ({"tamper": "timestamp"}, "000002"),
        ({"tamper": "signature", "version": "V1"}, "000001"),
        ({"expect": "000002"}, "000002"),
    ],
)
async def test_spoilt_syncs(sim: httpx.AsyncClient, wanted: dict[str, str], code: str) -> None:
    """What they must be answered is no finding."""
    await put(sim, "")
    org = {"orgCode": "D", "orgName": "N", "tenantId": "t-1", "testFlag": 1, "flag": 1}
    if "expect" in wanted:
        del org["tenantId"]
    reply = await sim.post("/_sim/kit/singleOrgSync", json={"body": org, **wanted})
    said = reply.json()
    assert said["findings"] == []
    assert said["replies"][0]["reply"]["resultCode"] == code


async def test_a_replay(sim: httpx.AsyncClient) -> None:
    """The very same call again must be refused."""
    body = {"orgCode": "D", "orgName": "N", "tenantId": "t-1", "testFlag": 1, "flag": 1}
    asked = {"body": body, "tamper": "replay", "repeat": 2}
    said = (await sim.post("/_sim/kit/singleOrgSync", json=asked)).json()
    assert said["findings"] == []
    assert [each["reply"]["resultCode"] for each in said["replies"]] == ["000000", "000002"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/_sim/kit/coffeeSync", {}),
        ("PUT", TENANT, {"version": "V3"}),
        ("PUT", TENANT, {"tamper": "coffee"}),
        ("PUT", TENANT, {"oaep": "MD5"}),
        ("PUT", TENANT, {"expect": "9"}),
        ("PUT", TENANT, {"colour": "red"}),
        ("DELETE", TENANT, {}),
        ("PUT", TENANT + "/people/ada", {}),
        ("POST", "/_sim/instances/none/license", {}),
        ("GET", "/_sim/licenses/none", {}),
        ("POST", "/_sim/codes", {"expire_time": "tomorrow"}),
        ("POST", "/_sim/codes/none/freeze", {}),
    ],
)
async def test_wrong_handling(
    sim: httpx.AsyncClient, method: str, path: str, body: dict[str, str]
) -> None:
    """A sentence, 400 or 404."""
    reply = await sim.request(method, path, json=body)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]


async def test_without_keys() -> None:
    """It says which to give."""
    app = build_app(settings(production_url="http://merchant"), HandClock(), KitMerchant())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as http:
        reply = await http.put(TENANT, json={})
        assert (reply.status_code, "KOO_KIT_KEY" in reply.text) == (409, True)


async def test_codes_are_told(sim: httpx.AsyncClient, merchant: Known) -> None:
    """Renewed, frozen, released."""
    code = shown = (await sim.post("/_sim/codes", json={"license": "PL1"})).json()
    for action, state in (("refresh", "NORMAL"), ("freeze", "FROZEN"), ("release", "RELEASED")):
        reply = await sim.post(f"/_sim/codes/PL1/{action}", json={})
        assert reply.json()["findings"] == [], reply.text
        [shown] = (await sim.get("/_sim/codes")).json()["codes"]
        assert shown["state"] == state
    assert shown["expires_ms"] > code["expires_ms"]
    assert [call.name for call in merchant.taken] == [
        "refreshLicenseCode",
        "updateLicenseCodeStatus",
        "releaseLicenseCode",
    ]


async def test_clients_of_two_tenants(sim: httpx.AsyncClient, merchant: Known) -> None:
    """Differ, though their apps are called alike: the centre tells tenants apart by their clients."""
    for tenant in ("t-1", "t-2"):
        for path in ("", "/apps/app"):
            reply = await sim.put(f"/_sim/tenants/{tenant}{path}", json={})
            assert reply.json()["findings"] == []
    told_of = [call.body["clientId"] for call in merchant.taken if call.name == "applicationSync"]
    assert len(set(told_of)) == 2
    taken = {"client_id": told_of[0]}
    assert (await sim.put("/_sim/tenants/t-2/apps/app", json=taken)).status_code == 400
