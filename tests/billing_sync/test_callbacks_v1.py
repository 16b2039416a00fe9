"""The production address as V1.0 meets it: GET, signed replies, encrypted access data."""

import asyncio
import contextlib
import logging
from itertools import product as product_of
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import Engine, event, text
from sqlmodel import SQLModel, select

from billing_sync.key_models import ApiKey
from billing_sync.lifecycle import instance_id_of
from billing_sync.models import (
    CustomerRow,
    Instance,
    LifecycleInbox,
    OrderLine,
    ProjectionOutbox,
)
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import snapshots
from metering import keys
from tests.billing_sync.dying import FailingWrites
from tests.billing_sync.marketplace import ACCESS_KEY, FRONT_END, SECRET
from tests.billing_sync.test_callbacks import count, served, status_of
from tests.billing_sync.v1_marketplace import (
    V1Marketplace,
    app_info,
    as_text,
    check_body_sign,
    encrypted,
    stamp,
)

pytestmark = pytest.mark.anyio

YEAR = "20270101000000"
YEAR_MS = 1_798_761_600_000


@pytest.fixture
def market(engine: Engine) -> V1Marketplace:
    return V1Marketplace(engine)


def row(engine: Engine, instance_id: str) -> Instance:
    with reading(engine) as session:
        return session.exec(select(Instance).where(Instance.id == instance_id)).one()


async def test_a_purchase(market: V1Marketplace) -> None:
    """The call itself says who bought what: one call, and the instance can be used."""
    answer = await market.v1_create("CS1")
    assert (answer["resultCode"], answer["instanceId"]) == (
        "000000",
        instance_id_of("CS1", "TOKENS"),
    )
    assert market.orders.asked == 0
    shown = app_info(answer)
    assert (shown["frontEndUrl"], shown["userName"]) == (FRONT_END, "cust-1")
    with reading(market.engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    assert [key.digest for key in snapshot.keys] == [
        keys.digest(keys.pepper(SECRET), shown["password"])
    ]
    assert [(i.instance_id, i.product_id, i.status) for i in snapshot.instances] == [
        (answer["instanceId"], "TOKENS", "active")
    ]
    assert snapshot.name == "买家"


async def test_a_purchase_repeated(market: V1Marketplace) -> None:
    """The buyer's page calls it again and again: same instance, same access data, nothing new."""
    first, again = await market.v1_create("CS1"), await market.v1_create("CS1")
    assert first["instanceId"] == again["instanceId"]
    assert app_info(first) == app_info(again)
    assert first["appInfo"]["password"] != again["appInfo"]["password"]
    for table in (Instance, ApiKey, CustomerRow, OrderLine, LifecycleInbox, ProjectionOutbox):
        assert count(market.engine, table) == 1, table


async def test_billing_items_of_one_order(market: V1Marketplace) -> None:
    """Pay-per-use: an instance for each product. A period: one for the order."""
    tokens = await market.v1_bought("CS1", productId="TOKENS", chargingMode="0")
    assert await market.v1_bought("CS1", productId="IMAGES", chargingMode="0") != tokens
    year = await market.v1_bought("CS2", productId="TOKENS", chargingMode="1")
    assert await market.v1_bought("CS2", productId="TOKENS-YEAR", chargingMode="1") == year


async def test_fifty_purchases_at_once(market: V1Marketplace) -> None:
    """However many calls arrive together, there is one instance and one key."""
    found: set[str] = set()

    async def one() -> None:
        found.add(await market.v1_bought("CS1"))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one)
    assert len(found) == count(market.engine, Instance) == count(market.engine, ApiKey) == 1


async def test_a_purchase_that_was_taken_in(market: V1Marketplace) -> None:
    """An instance that was imported with its order, without a line, is the one that is answered."""
    with writing(market.engine) as session:
        for number, product in enumerate(("IMAGES", "TOKENS")):
            session.add(
                Instance(
                    id=f"old-{product}",
                    order_id=f"CS{number}",
                    product_id=product,
                    customer_id="cust-1",
                    status="active",
                    started=1,
                )
            )
    assert await market.v1_bought("CS1", productId="TOKENS") == "old-TOKENS"
    assert await market.v1_bought("CS0", productId="TOKENS") != "old-IMAGES"


async def test_what_is_kept_of_an_order(market: V1Marketplace) -> None:
    """Quantity, expiry and the buyer's answers; phone and mail nowhere, in no form."""
    phone, mail = encrypted("13000000000"), encrypted("buyer@example.com")
    made = await market.v1_bought(
        "CS1",
        productId="PACK",
        amount="3",
        expireTime=YEAR,
        mobilePhone=phone,
        email=mail,
        saasExtendParams=as_text([{"name": "n", "value": "v"}]),
    )
    bought = row(market.engine, made)
    assert (bought.is_package, bought.linear_value, bought.expires) == (True, 3, YEAR_MS)
    with reading(market.engine) as session:
        assert '"v"' in session.exec(select(OrderLine.raw)).one()
        for table in ("lifecycle_inbox", "order_line", "customer", "instance"):
            kept = str(session.execute(text(f"select * from {table}")).all())
            for hidden in (phone, mail, "13000000000", "buyer@"):
                assert hidden not in kept


@pytest.mark.parametrize(("bits", "warned"), [(256, False), (128, True)])
async def test_contact_tells_the_size_of_the_key(
    market: V1Marketplace, caplog: pytest.LogCaptureFixture, bits: int, warned: bool
) -> None:
    """A phone number of the other size is no reason to refuse an order, but to tell the operator."""
    phone = encrypted("13000000000", bits)
    await market.v1_bought("CS1", mobilePhone=phone)
    assert ("encrypt_bits: 256" in caplog.text) is warned
    assert phone not in caplog.text


async def test_128_bits(engine: Engine) -> None:
    """By setting the shorter key is used, and told."""
    market = V1Marketplace(engine, encrypt_bits=128)
    assert app_info(await market.v1_create("CS1"), 128)["userName"] == "cust-1"


async def test_a_product_nobody_configured(market: V1Marketplace) -> None:
    """It is provisioned, and counted for the operator."""
    await market.v1_bought("CS1", productId="SURPRISE")
    assert market.service.unknown_products == 1


async def test_acceptance(market: V1Marketplace) -> None:
    """The second newInstance moves the beginning of billing, once."""
    made = await market.v1_bought("CS1", provisionType="1")
    market.clock.advance(seconds=7200)
    accepted = market.clock.now_ms() - 3600_000
    for at in (accepted, accepted + 5000):
        again = await market.v1_bought("CS1", provisionType="1", acceptanceTime=stamp(at))
        assert again == made
    assert row(market.engine, made).started == accepted
    assert count(market.engine, LifecycleInbox) == 2


async def test_acceptance_in_the_first_call(market: V1Marketplace) -> None:
    """It may be all that arrives; a time ahead of ours is now."""
    ahead = stamp(market.clock.now_ms() + 5000)
    made = await market.v1_bought("CS1", acceptanceTime=ahead)
    assert row(market.engine, made).started == market.clock.now_ms()


async def test_acceptance_after_records(market: V1Marketplace) -> None:
    """What was billed already is not moved."""
    made = await market.v1_bought("CS1")
    market.clock.advance(seconds=7200)
    now = market.clock.now_ms()
    with writing(market.engine) as session:
        session.connection().execute(text(f"update instance set recorded_until = {now}"))
    await market.v1_bought("CS1", acceptanceTime=stamp(now - 1000))
    assert row(market.engine, made).started == now - 7200_000


async def test_expiry_and_renewal(market: V1Marketplace) -> None:
    """Expiry freezes; the renewal alone gives service again, and the same order extends once."""
    made = {"instanceId": await market.v1_bought("CS1", chargingMode="1")}
    market.clock.advance(seconds=1)
    assert (await market.v1("expireInstance", orderId="CS1", **made))["resultCode"] == "000000"
    assert status_of(market.engine, made["instanceId"]) == "frozen"
    market.clock.advance(seconds=1)
    renewal = {"orderId": "R1", "expireTime": YEAR, "productId": "TOKENS-YEAR", **made}
    assert await market.v1("refreshInstance", **renewal) == {
        "resultCode": "000000",
        "resultMsg": "success",
    }
    renewed = row(market.engine, made["instanceId"])
    assert (renewed.status, renewed.expires) == ("active", YEAR_MS)
    assert renewed.product_id == "TOKENS-YEAR"
    market.clock.advance(seconds=1)
    again = renewal | {"expireTime": "20280101000000"}
    assert (await market.v1("refreshInstance", **again))["resultCode"] == "000000"
    assert row(market.engine, made["instanceId"]).expires == YEAR_MS


async def test_refreshes_the_platform_debugs(market: V1Marketplace) -> None:
    """productId empty and filled, trialToFormal absent and 1 (spec §3.5), debugging and real."""
    made = await market.v1_bought("CS1", trialFlag="1", periodType="day", chargingMode="1")
    for number, (to_formal, product) in enumerate(product_of(("", "1"), ("", "TOKENS-YEAR"))):
        call = {"instanceId": made, "orderId": f"R{number}", "expireTime": YEAR}
        call |= {"productId": product} | ({"trialToFormal": to_formal} if to_formal else {})
        for more in ({"testFlag": "1"}, {}):
            assert (await market.v1("refreshInstance", **call, **more))["resultCode"] == "000000"


async def test_arrears(market: V1Marketplace) -> None:
    """FREEZE and NORMAL, repeated and out of order; a renewal does not lift a freeze."""
    made = await market.v1_bought("CS1")
    start = market.clock.now_ms()
    market.clock.advance(seconds=30)
    expected = [("FREEZE", 10, "frozen"), ("FREEZE", 11, "frozen"), ("NORMAL", 20, "active")]
    for status, at, then in [*expected, ("FREEZE", 15, "active"), ("FREEZE", 25, "frozen")]:
        call = {"instanceStatus": status, "timeStamp": stamp(start + at * 1000)}
        answer = await market.v1("instanceStatus", instanceId=made, **call)
        assert (answer["resultCode"], status_of(market.engine, made)) == ("000000", then)
    await market.v1("refreshInstance", instanceId=made, orderId="R", expireTime=YEAR)
    assert status_of(market.engine, made) == "frozen"


async def test_an_upgrade(market: V1Marketplace) -> None:
    """The call names the product; no order is asked for, and the order counts once."""
    made = await market.v1_bought("CS1", amount="2")
    call = {"instanceId": made, "orderId": "U1", "skuCode": "s"}
    market.clock.advance(seconds=5)
    up = await market.v1("upgrade", productId="IMAGES", amount="9", **call)
    assert up["resultCode"] == "000000"
    upgraded = row(market.engine, made)
    assert (upgraded.product_id, upgraded.linear_value) == ("IMAGES", 9)
    market.clock.advance(seconds=5)
    assert (await market.v1("upgrade", productId="TOKENS", **call))["resultCode"] == "000000"
    assert row(market.engine, made).product_id == "IMAGES"
    assert market.orders.asked == 0


async def test_scaling(market: V1Marketplace) -> None:
    """An upgrade to the same product changes the quantity alone."""
    made = await market.v1_bought("CS1", amount="2")
    call = {"instanceId": made, "orderId": "U1", "skuCode": "s", "productId": "TOKENS"}
    await market.v1("upgrade", amount="5", **call)
    assert row(market.engine, made).linear_value == 5


async def test_release(market: V1Marketplace) -> None:
    """The end, once; a later wish for service is refused for good."""
    made = {"instanceId": await market.v1_bought("CS1")}
    market.clock.advance(seconds=1)
    for _ in range(2):
        assert (await market.v1("releaseInstance", orderId="CS1", **made))["resultCode"] == "000000"
    ended = row(market.engine, made["instanceId"])
    assert (ended.status, ended.released) == ("released", market.clock.now_ms())
    market.clock.advance(seconds=1)
    late = await market.v1("refreshInstance", orderId="R", expireTime=YEAR, **made)
    assert late["resultCode"] == "000003"


async def test_a_query(market: V1Marketplace) -> None:
    """Access data encrypted, usage in the clear, unknown ids named."""
    made = await market.v1_bought("CS1")
    answer = await market.v1("queryInstance", instanceId=f"{made},ghost")
    assert answer["resultCode"] == "000003"
    assert "ghost" in answer["resultMsg"]
    (entry,) = answer["info"]
    assert app_info({**answer, **entry})["userName"] == "cust-1"
    assert entry["usageInfo"][0]["usageValue"] == 0
    assert "appInfo" not in answer


CALLS: list[dict[str, str]] = [
    {"activity": "refreshInstance", "orderId": "o", "expireTime": YEAR},
    {"activity": "expireInstance", "orderId": "o"},
    {"activity": "releaseInstance", "orderId": "o"},
    {"activity": "upgrade", "orderId": "o", "skuCode": "s", "productId": "TOKENS"},
    {"activity": "instanceStatus", "instanceStatus": "FREEZE"},
    {"activity": "queryInstance"},
]


async def test_unknown_instances(market: V1Marketplace) -> None:
    """Every activity names the instance it does not know, in a signed reply."""
    for call in CALLS:
        answer = await market.v1(**call, instanceId="ghost")
        assert (answer["resultCode"], "ghost" in answer["resultMsg"]) == ("000003", True), call


async def test_debugging_touches_no_sql(market: V1Marketplace) -> None:
    """testFlag=1 is answered from the call alone, the same before and after real ones."""
    statements: list[str] = []

    @event.listens_for(market.engine, "before_cursor_execute")
    def _seen(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    def opened(answer: dict[str, Any]) -> dict[str, Any]:
        shown = answer if "appInfo" in answer else next(iter(answer.get("info", [])), {})
        if "appInfo" in shown:
            shown["appInfo"] = app_info({**answer, **shown})
        return answer

    async def cases() -> list[dict[str, Any]]:
        created = await market.v1_create("CS1", testFlag="1")
        calls = [await market.v1(**call, instanceId="none", testFlag="1") for call in CALLS]
        return [opened(answer) for answer in (created, *calls)]

    before = await cases()
    assert {answer["resultCode"] for answer in before} == {"000000"}
    assert before[0]["appInfo"]["frontEndUrl"] == FRONT_END
    assert statements == []
    await market.v1_bought("CS1")
    assert await cases() == before


async def test_bad_calls(market: V1Marketplace) -> None:
    """Whatever is wrong is a result code in a signed reply, and writes nothing."""
    unsigned = "activity=newInstance&timeStamp=20260921141320000"
    for query, code in (
        ("", "000002"),
        ("activity=newInstance", "000002"),
        (unsigned, "000001"),
        (f"{unsigned}&authToken=x", "000001"),
        ("%FF=1", "000002"),
    ):
        assert (await market.get(query)).json()["resultCode"] == code, query
    assert count(market.engine, LifecycleInbox) == count(market.engine, Instance) == 0


async def test_wrong_parameters(market: V1Marketplace) -> None:
    """A well-signed call with a parameter missing is 000002, and names it."""
    answer = await market.v1("expireInstance", instanceId="i")
    assert (answer["resultCode"], "orderId" in answer["resultMsg"]) == ("000002", True)


async def test_age(engine: Engine) -> None:
    """A call may be as old as the setting says."""
    market = V1Marketplace(engine, v1_max_age="60s")
    old = {"timeStamp": stamp(market.clock.now_ms() - 60_001)}
    assert (await market.v1_create("CS1", **old))["resultCode"] == "000002"
    assert (await market.v1_create("CS1"))["resultCode"] == "000000"


async def test_a_call_played_again(market: V1Marketplace) -> None:
    """A recorded call changes nothing when it comes again: neither freeze nor release nor order."""
    made = await market.v1_bought("CS1")
    market.clock.advance(seconds=1)
    freeze = market.query("instanceStatus", instanceId=made, instanceStatus="FREEZE")
    await market.get(freeze)
    market.clock.advance(seconds=1)
    await market.v1("instanceStatus", instanceId=made, instanceStatus="NORMAL")
    market.clock.advance(seconds=1)
    await market.get(freeze)
    assert status_of(market.engine, made) == "active"


@pytest.mark.parametrize("key", [None, ""])
async def test_without_an_access_key(
    engine: Engine, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """An address without a key lets nobody in, whatever he signs with, and tells the operator."""
    market = V1Marketplace(engine, access_key=key)
    async with market.client() as client:
        reply = await client.get(f"/?{market.query('queryInstance', instanceId='i')}")
    assert reply.json()["resultCode"] == "000001"
    assert "Body-Sign" not in reply.headers
    assert "koogallery.access_key is not set" in caplog.text


async def test_both_versions_of_one_instance(market: V1Marketplace) -> None:
    """One table: what V1.0 froze V2.0 unfreezes, and the other way round."""
    made = await market.v1_bought("CS1")
    for old, new in ((True, False), (False, True)):
        for freeze, is_old in ((True, old), (False, new)):
            market.clock.advance(seconds=1)
            if is_old:
                word = "FREEZE" if freeze else "NORMAL"
                await market.v1("instanceStatus", instanceId=made, instanceStatus=word)
            else:
                word = "FREEZE" if freeze else "UNFREEZE"
                await market.call("updateInstanceStatus", instanceId=made, status=word)
            assert status_of(market.engine, made) == ("frozen" if freeze else "active")


async def test_counters(market: V1Marketplace) -> None:
    """Replies are counted by activity and code, under documented names only."""
    await market.v1_bought("CS1")
    await market.v1("fly")
    await market.get("")
    await market.v1("instanceStatus", instanceId="ghost", instanceStatus="NORMAL")
    assert market.service.answers == {
        ("newInstance", "000000"): 1,
        ("other", "000002"): 2,
        ("instanceStatus", "000003"): 1,
    }


async def test_v2_replies_are_signed_too(market: V1Marketplace) -> None:
    """As one of the guides asks for; whoever does not look for it loses nothing."""
    check_body_sign(await market.send(b'{"activity":"queryInstance","instanceId":"i"}'))
    check_body_sign(await market.send(b"{"))


async def test_nothing_secret_in_logs(
    market: V1Marketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the access key nor the customer's key nor a token is written anywhere."""
    caplog.set_level(logging.DEBUG)
    answer = await market.v1_create("CS1", mobilePhone=encrypted("1", 128))
    await market.v1("queryInstance", instanceId=answer["instanceId"])
    logged = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("billing_sync"))
    for secret in (app_info(answer)["password"], ACCESS_KEY, "authToken="):
        assert secret not in logged


async def test_a_crash_between_the_writes(market: V1Marketplace) -> None:
    """Whichever statement of a call fails: all or nothing is kept, and the next call finds its way."""
    made = await market.v1_bought("CS0")
    market.clock.advance(seconds=1)
    kept: list[type[SQLModel]] = [
        Instance,
        ApiKey,
        CustomerRow,
        OrderLine,
        LifecycleInbox,
        ProjectionOutbox,
    ]
    failing = FailingWrites(market.engine)

    async def crashes(activity: str, **call: str) -> int:
        """How many statements there were to fail at."""
        for number in range(1, 20):
            before = [count(market.engine, table) for table in kept], status_of(market.engine, made)
            failing.left = number
            answer = await market.v1(activity, **call)
            if failing.left > 0:
                assert answer["resultCode"] == "000000"
                return number - 1
            assert answer["resultCode"] == "000005"
            after = [count(market.engine, table) for table in kept], status_of(market.engine, made)
            assert after == before
        raise AssertionError

    buyer = {"customerId": "cust-9", "businessId": "b", "productId": "TOKENS"}
    assert await crashes("newInstance", orderId="CS1", **buyer) >= 5
    assert await crashes("instanceStatus", instanceId=made, instanceStatus="FREEZE") == 3
    assert await crashes("releaseInstance", instanceId=made, orderId="CS0") == 4
    assert status_of(market.engine, made) == "released"


async def test_over_a_real_socket(market: V1Marketplace) -> None:
    """`Body-Sign` is spelt as documented on the wire, and a head has a bound."""
    query = market.query("newInstance", customerId="c", businessId="b", orderId="o", productId="p")
    async with served(market) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            reply = await http.get(f"/koogallery?{query}")
            check_body_sign(reply)
            assert reply.json()["resultCode"] == "000000"
            assert b"Body-Sign" in [name for name, _ in reply.headers.raw]
        assert b"000002" in await asked(port, 70_000)
        assert b"200 OK" not in await asked(port, 3_000_000)


async def asked(port: int, length: int) -> bytes:
    """The reply to a query of so many bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        b"GET /koogallery?" + b"x" * length + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    reply = b""
    with contextlib.suppress(ConnectionError):  # it need not read what it refuses
        writer.write(head)
        await writer.drain()
        reply = await reader.read()
    writer.close()
    return reply
