"""The Kit over HTTP: ten paths, who may call, what stays behind, and what people may see afterwards."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine
from sqlmodel import SQLModel, func, select

from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.koogallery.kit_fields import MAX_BODY
from billing_sync.store.engine import reading
from billing_sync.store.kit_access import applications
from tests.billing_sync.kit_marketplace import (
    KIT_KEY,
    KitMarketplace,
    beijing,
    encrypted,
    pem_of,
    person,
    rsa_key,
    texts,
    x_sign,
)
from tests.billing_sync.marketplace import ACCESS_KEY, SECRET
from tests.billing_sync.v1_marketplace import check_body_sign, token

pytestmark = pytest.mark.anyio

SYNCS = ["tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync"]
TABLES = (KitTenant, KitApp, KitUser, KitOrg)


@pytest.fixture
def database_kind() -> str:
    """What is kept is tested on both (store/test_kit.py, test_ten_interfaces.py)."""
    return "sqlite"


@pytest.fixture
def market(engine: Engine, tmp_path: Path) -> KitMarketplace:
    return KitMarketplace(engine, tmp_path)


def count(market: KitMarketplace, table: type[SQLModel]) -> int:
    with reading(market.engine) as session:
        return session.exec(select(func.count()).select_from(table)).one()


def counts(market: KitMarketplace) -> list[int]:
    return [count(market, table) for table in TABLES]


def rows(market: KitMarketplace, table: Any) -> list[Any]:
    with reading(market.engine) as session:
        return list(session.exec(select(table)))


@pytest.mark.parametrize("prefix", ["", "/", "/koogallery", "/koogallery/"])
async def test_addresses(market: KitMarketplace, prefix: str) -> None:
    """The sub-paths follow the production address, however it ends, in both versions."""
    for sync in SYNCS:
        body = market.body(sync, testFlag=1)
        assert (await market.post_v2(sync, body, prefix=prefix)).json()["resultCode"] == "000000"
        assert (await market.post_v1(sync, texts(body), prefix=prefix)).json()[
            "resultCode"
        ] == "000000"
    assert counts(market) == [0, 0, 0, 0]


async def test_other_methods(market: KitMarketplace) -> None:
    """Only POST exists, and only the five names."""
    async with market.client() as client:
        assert (await client.get("/koogallery/produceAPI/v2/tenantSync")).status_code == 405
        assert (await client.post("/koogallery/produceAPI/v2/otherSync")).status_code == 404


async def test_v1_may_be_signed_with_the_base_key(market: KitMarketplace) -> None:
    """Its pages know one key; the reply is signed with the one that was meant."""
    body = market.body("tenantSync", testFlag=1)
    proof = token({name: str(value) for name, value in body.items()}, ACCESS_KEY)
    async with market.client() as client:
        path = "/koogallery/produceAPI/tenantSync"
        reply = await client.post(path, json=body, headers={"authToken": proof})
        assert reply.json()["resultCode"] == "000000"
        check_body_sign(reply, ACCESS_KEY)
        reply = await client.post(path, json=body | {"flag": 0}, headers={"authToken": proof})
        assert reply.json()["resultCode"] == "000001"
        check_body_sign(reply, KIT_KEY)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x_sign": ""}, "000001"),
        ({"x_sign": "0" * 64}, "000001"),
        ({"x_nonce": "another"}, "000001"),
        ({"x_nonce": ""}, "000002"),
        ({"x_timestamp": ""}, "000002"),
        ({"x_timestamp": "1680508066618"}, "000002"),
    ],
)
async def test_who_may_not_call(market: KitMarketplace, headers: dict[str, str], code: str) -> None:
    """A result code inside HTTP 200, and nothing is written."""
    market.instance = await market.bought("CS1")
    for sync in SYNCS:
        reply = await market.post_v2(sync, market.body(sync), **headers)
        assert reply.json()["resultCode"] == code
        assert (await market.post_v1(sync, market.body(sync), auth="")).json()[
            "resultCode"
        ] == "000001"
    assert counts(market) == [0, 0, 0, 0]


async def test_a_call_is_heard_once(market: KitMarketplace) -> None:
    """The very same request again is refused, also after a key without its own is used."""
    body = market.body("tenantSync", testFlag=1)
    headers = {"x_nonce": "n1", "x_timestamp": str(market.clock.now_ms())}
    raw = json.dumps(body).encode()
    headers["x_sign"] = x_sign(raw, headers["x_timestamp"], "n1")
    assert (await market.post_v2("tenantSync", raw, **headers)).json()["resultCode"] == "000000"
    assert (await market.post_v2("tenantSync", raw, **headers)).json()["resultCode"] == "000001"


async def test_the_access_key_serves_where_there_is_no_kit_key(
    engine: Engine, tmp_path: Path
) -> None:
    """And without either nobody is believed."""
    market = KitMarketplace(engine, tmp_path, kit_key=None)
    body = json.dumps(market.body("tenantSync", testFlag=1)).encode()
    assert market.kit.key == ACCESS_KEY
    stamp = str(market.clock.now_ms())
    right = {"x-timestamp": stamp, "x-nonce": "n", "x-sign": x_sign(body, stamp, "n", ACCESS_KEY)}
    async with market.client() as client:
        path = "/produceAPI/v2/tenantSync"
        reply = await client.post(path, content=body, headers=right)
        assert reply.json()["resultCode"] == "000000"
        market.kit.settings = market.kit.settings.model_copy(update={"access_key": None})
        reply = await client.post(path, content=body, headers=right)
    assert reply.json()["resultCode"] == "000001"
    assert "Body-Sign" not in reply.headers


async def test_bodies_that_cannot_be_read(market: KitMarketplace) -> None:
    """000002 with a reason, in both versions."""
    for sync in SYNCS:
        for raw in (b"", b"{", b"[]", b"\xff"):
            assert (await market.post_v2(sync, raw)).json()["resultCode"] == "000002"
            reply = await market._post(f"/koogallery/produceAPI/{sync}", raw, {"authToken": "x"})
            assert reply.json()["resultCode"] == "000002"
        assert await market.v2(sync, tenantId="") == "000002"
        assert await market.kit_v1(sync, tenantId="x" * 65) == "000002"


async def test_bounds_of_bodies(market: KitMarketplace) -> None:
    """A thousand and one spaces do no harm; more than the bound is not read."""
    for sync in SYNCS:
        most = next(size for name, size in MAX_BODY.items() if name == sync)
        body = market.body(sync, testFlag=1) | {"x": ""}
        fits = json.dumps(body | {"x": "y" * (most - len(json.dumps(body)))}).encode()
        assert len(fits) == most
        assert (await market.post_v2(sync, fits)).json()["resultCode"] == "000000"
        answer = (await market.post_v2(sync, fits + b" ")).json()
        assert (answer["resultCode"], "larger" in answer["resultMsg"]) == ("000002", True)


async def test_debugging_writes_nothing(market: KitMarketplace) -> None:
    """Success from the request alone, for unknown instances too; a secret of another key is none."""
    for flag in (0, 1, 2):
        for sync in SYNCS[:4]:
            assert await market.v2(sync, testFlag=1, flag=flag, instanceId="nobody") == "000000"
    assert await market.v2("authSync", testFlag=1, flag=3) == "000000"
    assert await market.v2("allOrgSync", testFlag="1") == "000000"
    assert await market.v2("applicationSync", testFlag=1, clientSecret="x") == "000101"
    assert await market.v2("authSync", testFlag=1, userList=[{}]) == "000002"
    assert counts(market) == [0, 0, 0, 0]


@pytest.mark.parametrize("version", [1, 2])
async def test_from_the_purchase_to_the_person(market: KitMarketplace, version: int) -> None:
    """Tenant, application, people: then somebody may sign in and see this instance."""
    market.instance = await market.bought("CS1")
    send = market.kit_v1 if version == 1 else market.v2
    for sync in SYNCS:
        for _ in range(2):
            assert await send(sync) == "000000"
    assert counts(market) == [1, 1, 1, 1]
    found = market.access()
    assert found
    assert found.instance_ids == (market.instance,)
    assert (found.customer_id, found.name, found.role) == ("cust-1", "Name of li.na", "user")
    with reading(market.engine) as session:
        (app,) = applications(session, SECRET, "t1")
    assert (app.client_id, app.client_secret) == ("client-1", "s3cret")
    assert (app.tenant_code, app.domain_name) == ("acme", "https://acme.example.com")
    assert "s3cret" not in repr(app)


async def test_unknown_instances(market: KitMarketplace) -> None:
    """Refused, but for deletions, which nobody checks; nothing stays behind."""
    for sync in SYNCS:
        assert await market.v2(sync, instanceId="nobody") == "000003"
        assert await market.kit_v1(sync, instanceId="nobody") == "000003"
    for sync in SYNCS[:4]:
        assert await market.v2(sync, instanceId="nobody", flag=0) == "000000"
    assert await market.v2("authSync", instanceId="nobody", flag=3) == "000000"
    assert counts(market) == [0, 0, 0, 0]


async def test_secrets_that_cannot_be_opened(
    market: KitMarketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """000101, and what was there stays; a new key counts without a restart."""
    await market.settled()
    before = rows(market, KitApp)
    in_lines = encrypted("s3cret").replace("A", "A\r\n")
    assert await market.v2("applicationSync", appId="a2", clientSecret=in_lines) == "000000"
    assert await market.v2("applicationSync", appId="a2", flag=0) == "000000"
    assert await market.v2("applicationSync", flag=2, clientSecret="bm90") == "000101"
    market.key_file.write_bytes(pem_of(rsa.generate_private_key(65537, 3072)))
    assert await market.v2("applicationSync", flag=2) == "000101"
    market.key_file.write_bytes(b"no key")
    assert await market.v2("applicationSync", flag=2) == "000101"
    market.key_file.unlink()
    assert await market.v2("applicationSync", flag=2) == "000101"
    assert [app for app in rows(market, KitApp) if app.app_id == "a1"] == before
    market.key_file.write_bytes(pem_of(rsa_key()))
    assert await market.v2("applicationSync", flag=2, clientSecret=encrypted("new")) == "000000"
    with reading(market.engine) as session:
        assert applications(session, SECRET, "t1")[0].client_secret == "new"
    assert "private_key_file" in caplog.text


async def test_no_key_is_configured(engine: Engine, tmp_path: Path) -> None:
    """Everything else works; the reason says what lacks."""
    market = KitMarketplace(engine, tmp_path, private_key_file=None)
    reply = await market.post_v2("applicationSync", market.body("applicationSync"))
    assert reply.json() == {
        "resultCode": "000101",
        "resultMsg": "clientSecret cannot be decrypted: no key is configured",
    }
    assert await market.v2("applicationSync", flag=0) == "000000"


async def test_secrets_are_sealed_and_said_nowhere(
    market: KitMarketplace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the ledger, not in logs."""
    with caplog.at_level(logging.DEBUG):
        await market.settled()
    (app,) = rows(market, KitApp)
    assert "s3cret" not in json.dumps(app.model_dump())
    assert "s3cret" not in caplog.text


async def test_what_ends_access(market: KitMarketplace) -> None:
    """Each of them at once, and what restores it."""
    await market.settled()
    people = [person("li.na")]
    steps: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
        ("authSync", {"flag": 0, "userList": people}, "authSync", {}),
        ("authSync", {"flag": 3, "userList": people}, "authSync", {}),
        ("applicationSync", {"flag": 0}, "applicationSync", {}),
        ("tenantSync", {"flag": 0}, "tenantSync", {}),
    ]
    for ends, fields, again, more in steps:
        assert market.access()
        assert await market.v2(ends, **fields) == "000000"
        assert market.access() is None
        assert await market.v2(again, **more) == "000000"
        if ends != "authSync":
            assert market.access() is None  # its people ended with it
            await market.v2("applicationSync")
            await market.v2("authSync")
    assert market.access()


async def test_switched_off(market: KitMarketplace) -> None:
    """Known, and sees nothing."""
    await market.settled()
    await market.v2("authSync", flag=2, userList=[person("li.na", enable="false")])
    found = market.access()
    assert found
    assert (found.enabled, found.instance_ids, found.name) == (False, (), "Name of li.na")


async def test_instances_that_give_no_service(market: KitMarketplace) -> None:
    """Frozen, served again, released for good."""
    made = await market.settled()
    await market.call("updateInstanceStatus", instanceId=made, status="FREEZE")
    assert market.access() is None
    market.clock.advance(ms=1)
    await market.call("updateInstanceStatus", instanceId=made, status="UNFREEZE")
    assert market.access()
    market.clock.advance(ms=1)
    await market.call("releaseInstance", instanceId=made)
    assert market.access() is None


async def test_an_instance_that_was_released(market: KitMarketplace) -> None:
    """Who says something later is told that it is gone; what merely came late is taken for that."""
    made = await market.settled()
    late = {sync: market.body(sync, tenantId="t2") for sync in SYNCS}
    market.clock.advance(ms=1)
    await market.call("releaseInstance", instanceId=made)
    before = counts(market)
    for sync in SYNCS:
        assert (await market.post_v2(sync, late[sync])).json()["resultCode"] == "000000"
        assert await market.v2(sync) == "000003"
    assert counts(market) == before
    assert await market.v2("authSync", flag=0) == "000000"
    (user,) = rows(market, KitUser)
    assert user.name == ""


async def test_a_modification_before_anything_was_added(market: KitMarketplace) -> None:
    """It succeeds, its data wait, and nobody is let in by it."""
    market.instance = await market.bought("CS1")
    await market.v2("tenantSync")
    await market.v2("applicationSync")
    late = market.body("authSync")
    changed = [person("li.na", role="admin", name="Later")]
    assert await market.v2("authSync", flag=2, userList=changed) == "000000"
    assert market.access() is None
    assert (await market.post_v2("authSync", late)).json()["resultCode"] == "000000"
    found = market.access()
    assert found
    assert (found.name, found.role) == ("Later", "admin")


async def test_a_tenants_code_belongs_to_its_addition(market: KitMarketplace) -> None:
    """A modification is of name and domain (spec §5)."""
    market.instance = await market.bought("CS1")
    await market.v2("tenantSync")
    await market.v2("tenantSync", flag=2, tenantCode="x", name="New", domainName="https://new")
    (tenant,) = rows(market, KitTenant)
    assert (tenant.code, tenant.name, tenant.domain_name) == ("acme", "New", "https://new")


async def test_calls_that_cross(market: KitMarketplace) -> None:
    """They count by their own time: an addition that comes after its deletion lets nobody in."""
    await market.settled()
    added = market.body("authSync", userList=[person("wang")])
    deleted = market.body("authSync", userList=[person("wang")], flag=0)
    for body in (deleted, added, deleted, added):
        assert (await market.post_v2("authSync", body)).json()["resultCode"] == "000000"
        assert market.access("wang") is None
    newer = market.body("tenantSync", flag=0)
    app, people = market.body("applicationSync"), market.body("authSync")
    tenant = market.body("tenantSync")
    crossed = [("authSync", people), ("applicationSync", app), ("tenantSync", tenant)]
    for sync, body in [*crossed, ("tenantSync", newer), *crossed]:
        assert (await market.post_v2(sync, body)).json()["resultCode"] == "000000"
    assert market.access("li.na")
    assert market.access("wang") is None


async def test_the_whole_tree(market: KitMarketplace) -> None:
    """What is not listed is gone; what was said later stays, and what was said before stays gone."""
    market.instance = await market.bought("CS1")
    await market.v2("singleOrgSync", orgCode="old")
    late = market.body("singleOrgSync", orgCode="late")
    tree = market.body("allOrgSync", orgInfoList=[{"orgCode": "top", "orgName": "Top"}])
    await market.v2("singleOrgSync", orgCode="new", parentCode="top")
    for sync, body in (("allOrgSync", tree), ("allOrgSync", tree), ("singleOrgSync", late)):
        assert (await market.post_v2(sync, body)).json()["resultCode"] == "000000"
    assert {row.org_code for row in rows(market, KitOrg)} == {"top", "new"}
    assert await market.v2("allOrgSync", orgInfoList="[]") == "000000"
    assert rows(market, KitOrg) == []


async def test_before_anything_was_sold(market: KitMarketplace) -> None:
    """The seller's own test accounts can sign in, and see nothing."""
    for sync in SYNCS:
        assert await market.v2(sync) == "000000"
    found = market.access()
    assert found
    assert (found.instance_ids, found.enabled) == ((), True)


async def test_replies_are_counted(market: KitMarketplace) -> None:
    """By interface, version and code."""
    await market.v2("tenantSync", testFlag=1)
    await market.kit_v1("tenantSync", tenantId="")
    assert market.kit.answers == {
        ("tenantSync", "2", "000000"): 1,
        ("tenantSync", "1", "000002"): 1,
    }


async def test_a_failure_inside_is_no_stack_trace(
    market: KitMarketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """000005, and the log says where, not what it was about."""
    market.kit.secret = None  # type: ignore[assignment]  # something breaks
    assert await market.v2("applicationSync") == "000005"
    assert "callback failed" in caplog.text
    assert "client-1" not in caplog.text


async def test_v1_times_are_beijings(market: KitMarketplace) -> None:
    """A call of yesterday is refused, one of this morning is not."""
    body = market.body("tenantSync", testFlag=1)
    for hours, code in ((23, "000000"), (25, "000002")):
        at = market.clock.now_ms() - hours * 3_600_000
        old = body | {"timeStamp": beijing(at)}
        assert (await market.post_v1("tenantSync", old)).json()["resultCode"] == code
