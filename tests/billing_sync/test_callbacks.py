"""The production address over HTTP, as KooGallery meets it."""

import asyncio
import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import anyio.lowlevel
import httpx
import pytest
import uvicorn
from sqlalchemy import Engine, event, func
from sqlmodel import SQLModel, select
from starlette.types import Message

from billing_sync.callbacks import SERVING, CallbackService
from billing_sync.figures import UsageFigure
from billing_sync.key_models import ApiKey
from billing_sync.koogallery.signing import NonceMemory
from billing_sync.models import CustomerRow, Instance, LifecycleInbox, OrderLine, ProjectionOutbox
from billing_sync.settings import KooGallerySettings
from billing_sync.store.engine import reading, writing
from metering import keys
from tests.billing_sync.marketplace import ACCESS_KEY, FRONT_END, SECRET, Marketplace, sign

pytestmark = pytest.mark.anyio

NEW = b'{"activity":"newInstance","businessId":"b","orderId":"o","orderLineId":"l"}'


@pytest.fixture
def market(engine: Engine) -> Marketplace:
    return Marketplace(engine)


def count(engine: Engine, table: type[SQLModel]) -> int:
    with reading(engine) as session:
        return session.exec(select(func.count()).select_from(table)).one()


def status_of(engine: Engine, instance_id: str) -> str:
    with reading(engine) as session:
        return session.exec(select(Instance.status).where(Instance.id == instance_id)).one()


async def test_the_platforms_checks(market: Marketplace) -> None:
    """HTTP 200, application/json, a code and a message, an instance id (spec §9)."""
    market.orders.buy("o")
    reply = await market.send(NEW.replace(b'"l"', b'"o-000001"'))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json;charset=UTF-8"
    body = reply.json()
    assert body["resultCode"] == "000000"
    assert body["resultMsg"]
    assert 0 < len(body["instanceId"]) <= 64


@pytest.mark.parametrize("path", ["/koogallery", "/koogallery/", "/"])
async def test_addresses(market: Marketplace, path: str) -> None:
    """The production address answers with and without its path."""
    assert (await market.send(NEW, path=path)).json()["resultCode"] == "000004"


async def test_other_methods(market: Marketplace) -> None:
    """GET is V1.0; methods of neither version do not exist."""
    async with market.client() as client:
        get = await client.get("/koogallery")
        assert (get.status_code, get.json()["resultCode"]) == (200, "000002")
        assert "timeStamp" in get.json()["resultMsg"]
        assert (await client.put("/koogallery")).status_code == 405


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"signature": ""}, "000001"),
        ({"signature": "0" * 64}, "000001"),
        ({"timestamp": ""}, "000002"),
        ({"timestamp": "1680508066618"}, "000002"),
        ({"nonce": ""}, "000002"),
        ({"nonce": "another"}, "000001"),
    ],
)
async def test_bad_signatures(market: Marketplace, query: dict[str, str], code: str) -> None:
    """Whatever is wrong with the signature is a result code inside HTTP 200, and writes nothing."""
    reply = await market.send(NEW, **query)
    assert (reply.status_code, reply.json()["resultCode"]) == (200, code)
    assert count(market.engine, LifecycleInbox) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"activity":"fly"}',
        b'{"activity":"orderNotify"}',
        b'{"activity":"expireInstance","instanceId":"i","orderId":"o"}',
        NEW[:-1] + b',"testFlag":"7"}',
    ],
    ids=["empty", "cut", "list", "unknown", "later", "v1", "flag"],
)
async def test_bad_bodies(market: Marketplace, raw: bytes) -> None:
    """A well-signed body that cannot be read is 000002 with a reason."""
    answer = (await market.send(raw)).json()
    assert answer["resultCode"] == "000002"
    assert answer["resultMsg"]


async def test_a_body_beyond_its_bound(market: Marketplace) -> None:
    """64 KiB are read and no more."""
    fits = NEW[:-1] + b',"x":"' + b"y" * (65536 - len(NEW) - 7) + b'"}'
    assert len(fits) == 65536
    assert (await market.send(fits)).json()["resultCode"] == "000004"
    answer = (await market.send(fits + b" ")).json()
    assert (answer["resultCode"], "larger" in answer["resultMsg"]) == ("000002", True)


async def test_a_body_that_never_ends(market: Marketplace) -> None:
    """Beyond its bound the body is not even read."""
    chunks: list[int] = []
    sent: list[Message] = []

    async def receive() -> Message:
        chunks.append(40_000)
        await anyio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"x" * 40_000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    with anyio.fail_after(5):
        await market.app(scope, receive, send)
    assert len(chunks) == 2
    assert b"000002" in sent[1]["body"]


async def test_a_replay(market: Marketplace) -> None:
    """The same signed request a second time is refused: its reply would hand out the key again."""
    now, nonce = market.clock.now_ms(), "n"
    query = {"signature": sign(NEW, now, nonce), "timestamp": str(now), "nonce": nonce}
    assert (await market.service.answer(query, NEW)).code == "000004"
    assert (await market.service.answer(query, NEW)).code == "000001"
    market.service.nonces = NonceMemory(refuse_repeats=False)
    assert (await market.service.answer(query, NEW)).code == "000004"


async def test_a_forged_request_burns_no_nonce(market: Marketplace) -> None:
    """Who cannot sign cannot use up nonces either."""
    now, nonce = market.clock.now_ms(), "n"
    query = {"signature": sign(NEW, now, nonce), "timestamp": str(now), "nonce": nonce}
    assert (await market.service.answer(query | {"signature": "00"}, NEW)).code == "000001"
    assert (await market.service.answer(query, NEW)).code == "000004"


async def test_without_an_access_key(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """An address without a key lets nobody in and tells the operator."""
    market = Marketplace(engine, access_key=None)
    assert (await market.send(NEW)).json()["resultCode"] == "000001"
    assert "koogallery.access_key is not set" in caplog.text


async def test_create_is_idempotent(market: Marketplace) -> None:
    """Another businessId for the same line gets the same instance; another line another."""
    first = await market.bought("CS1")
    assert (await market.create("CS1"))["instanceId"] == first
    assert await market.bought("CS2") != first
    assert count(market.engine, Instance) == 2


async def test_fifty_creations_at_once(market: Marketplace) -> None:
    """However many identical calls arrive together, there is one instance, one key, one answer."""
    market.orders.buy("CS1")
    answers: list[dict[str, object]] = []

    async def one() -> None:
        answers.append(await market.create("CS1"))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one)
    assert {(a["resultCode"], a["instanceId"]) for a in answers} == {
        ("000000", answers[0]["instanceId"])
    }
    assert len(answers) == 50
    for table in (Instance, ApiKey, CustomerRow, OrderLine, LifecycleInbox, ProjectionOutbox):
        assert count(market.engine, table) == 1, table


async def test_many_buyers_at_once(market: Marketplace) -> None:
    """Different orders of a few buyers do not disturb each other."""
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(market.bought, f"CS{number}", "TOKENS", f"cust-{number % 3}")
    assert count(market.engine, Instance) == 30
    assert count(market.engine, ApiKey) == 3


async def test_query_shows_access_and_usage(market: Marketplace) -> None:
    """The buyer's page gets address, name, key, memo and the cumulative figure."""
    instance_id = await market.bought("CS1")
    market.figures.known[instance_id] = [
        UsageFigure(None, Decimal("0.1") + Decimal("0.2"), market.clock.now_ms())
    ]
    answer = await market.call("queryInstance", instanceId=instance_id)
    assert answer["resultCode"] == "000000"
    (entry,) = answer["info"]
    assert entry["instanceId"] == instance_id
    assert entry["appInfo"]["frontEndUrl"] == FRONT_END
    assert entry["appInfo"]["userName"] == "cust-1"
    with reading(market.engine) as session:
        digest = session.exec(select(ApiKey.digest)).one()
    assert keys.digest(keys.pepper(SECRET), entry["appInfo"]["password"]) == digest
    assert entry["usageInfo"] == [{"usageValue": 0.3, "statisticalTime": "20260921141320000"}]


async def test_the_same_key_on_every_query(market: Marketplace) -> None:
    """Both instances of a buyer show one key, today and tomorrow."""
    ids = [await market.bought("CS1"), await market.bought("CS2", "PACK")]
    shown = set()
    for _ in range(2):
        answer = await market.call("queryInstance", instanceId=",".join(ids))
        assert [entry["instanceId"] for entry in answer["info"]] == ids
        shown |= {entry["appInfo"]["password"] for entry in answer["info"]}
    assert len(shown) == 1


async def test_chinese_is_escaped(market: Marketplace) -> None:
    """The memo speaks Chinese, the wire ASCII."""
    instance_id = await market.bought("CS1")
    body = json.dumps({"activity": "queryInstance", "instanceId": instance_id}).encode()
    reply = await market.send(body)
    assert reply.content.isascii()
    assert "调用方法" in reply.json()["info"][0]["appInfo"]["memo"]


async def test_usage_of_a_package(market: Marketplace) -> None:
    """A package shows what it gave to which pay-per-use instance, digit by digit."""
    metered, package = await market.bought("CS1"), await market.bought("CS2", "PACK")
    used = UsageFigure(metered, Decimal("99999999.9999"), 1_669_257_378_256)
    market.figures.known[package] = [used]
    body = json.dumps({"activity": "queryInstance", "instanceId": package}).encode()
    reply = await market.send(body)
    assert b'"usageValue":99999999.9999,' in reply.content
    assert reply.json()["info"][0]["usageInfo"] == [
        {
            "relatedInstanceId": metered,
            "usageValue": 99999999.9999,
            "statisticalTime": "20221124023618256",
        }
    ]


async def test_unknown_among_known(market: Marketplace) -> None:
    """An unknown id gives 000003 and is named; the known one is still shown."""
    known = await market.bought("CS1")
    answer = await market.call("queryInstance", instanceId=f"ghost,{known}")
    assert answer["resultCode"] == "000003"
    assert "ghost" in answer["resultMsg"]
    assert known not in answer["resultMsg"]
    assert [entry["instanceId"] for entry in answer["info"]] == [known]


async def test_a_hundred_ids(market: Marketplace) -> None:
    """A full list is answered in one reply."""
    ids = [await market.bought("CS1")] + [f"{number:064d}" for number in range(99)]
    answer = await market.call("queryInstance", instanceId=",".join(ids))
    assert (answer["resultCode"], len(answer["info"])) == ("000003", 1)
    assert len(answer["resultMsg"]) <= 255


async def test_polling_until_the_order_is_known(market: Marketplace) -> None:
    """KooGallery polls a creation in process; each poll asks for the order again."""
    instance_id = (await market.create("CS1"))["instanceId"]
    waiting = await market.call("queryInstance", instanceId=instance_id)
    assert (waiting["resultCode"], waiting["info"]) == ("000004", [{"instanceId": instance_id}])
    market.orders.buy("CS1")
    ready = await market.call("queryInstance", instanceId=instance_id)
    assert ready["resultCode"] == "000000"
    assert "password" in ready["info"][0]["appInfo"]


async def test_figures_that_hang(market: Marketplace) -> None:
    """Without figures in time the reply still comes: try again."""
    instance_id = await market.bought("CS1")
    market.figures.hangs = True
    answer = await market.call("queryInstance", instanceId=instance_id)
    assert (answer["resultCode"], answer["resultMsg"]) == ("000005", "internal error, try again")


async def test_a_key_sealed_with_another_secret(
    market: Marketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that cannot be opened is left out and logged by its customer; the rest is shown."""
    instance_id = await market.bought("CS1")
    market.service.view.secret = b"another secret, another secret, "
    (entry,) = (await market.call("queryInstance", instanceId=instance_id))["info"]
    assert "password" not in entry["appInfo"]
    assert "cust-1" in caplog.text


async def test_the_whole_life(market: Marketplace) -> None:
    """Freeze, renew, unfreeze, release; each with success, each told to the gateways."""
    instance_id = await market.bought("CS1")
    market.clock.advance(seconds=1)
    status = {"instanceId": instance_id}
    assert (await market.call("updateInstanceStatus", status="FREEZE", **status))["resultCode"] == (
        "000000"
    )
    assert status_of(market.engine, instance_id) == "frozen"
    renewal = {"scene": "RENEWAL", "orderId": "R", "orderLineId": "R-1", "productId": "TOKENS-YEAR"}
    answer = await market.call("refreshInstance", expireTime="20270101000000", **renewal, **status)
    assert answer == {"resultCode": "000000", "resultMsg": "success"}
    assert status_of(market.engine, instance_id) == "frozen"
    market.clock.advance(seconds=1)
    await market.call("updateInstanceStatus", status="UNFREEZE", **status)
    assert status_of(market.engine, instance_id) == "active"
    assert (await market.call("releaseInstance", **status))["resultCode"] == "000000"
    assert (await market.call("releaseInstance", orderId="X", **status))["resultCode"] == "000000"
    with reading(market.engine) as session:
        end = session.exec(select(Instance).where(Instance.id == instance_id)).one()
    assert (end.status, end.released) == ("released", market.clock.now_ms())
    assert (end.product_id, end.expires) == ("TOKENS-YEAR", 1_798_761_600_000)
    assert market.changes == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"activity": "updateInstanceStatus", "status": "FREEZE"},
        {"activity": "releaseInstance"},
        {
            "activity": "refreshInstance",
            "scene": "RENEWAL",
            "orderId": "o",
            "orderLineId": "l",
            "expireTime": "20270101000000",
        },
        {"activity": "queryInstance"},
    ],
    ids=lambda fields: fields["activity"],
)
async def test_unknown_instances(market: Marketplace, fields: dict[str, str]) -> None:
    """Every activity names the instance it does not know."""
    answer = await market.call(**fields, instanceId="ghost")
    assert answer["resultCode"] == "000003"
    assert "ghost" in answer["resultMsg"]


async def test_debugging_touches_no_sql(market: Marketplace) -> None:
    """testFlag=1 is answered from the request alone, the same before and after real ones."""
    statements: list[str] = []

    @event.listens_for(market.engine, "before_cursor_execute")
    def _seen(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    async def cases() -> list[dict[str, object]]:
        instance = {"instanceId": "none", "testFlag": "1"}
        order = {"orderId": "o", "orderLineId": "l"}
        refresh = {"scene": "RENEWAL", "expireTime": "20270101000000"}
        return [
            await market.create("MOCKONDEMAND", testFlag="1"),
            await market.call("queryInstance", **instance),
            await market.call("refreshInstance", **instance, **order, **refresh),
            await market.call("updateInstanceStatus", status="FREEZE", **instance),
            await market.call("releaseInstance", **instance),
        ]

    before = await cases()
    assert {answer["resultCode"] for answer in before} == {"000000"}
    assert statements == []
    await market.bought("MOCKONDEMAND")
    assert await cases() == before


async def test_a_database_that_is_gone(
    market: Marketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """When SQL fails the reply is 000005; neither reply nor log holds body or key."""
    market.orders.buy("CS1")
    with writing(market.engine) as session:
        session.connection().exec_driver_sql("DROP TABLE api_key")
    answer = await market.create("CS1", secretField="do-not-log")
    assert answer == {"resultCode": "000005", "resultMsg": "internal error, try again"}
    assert "Error at" in caplog.text
    assert "do-not-log" not in caplog.text
    assert "tg-" not in caplog.text
    assert ACCESS_KEY not in caplog.text
    assert count(market.engine, Instance) == 0


async def test_success_is_said_after_the_commit(market: Marketplace) -> None:
    """A commit that fails is no success, and the next call starts from nothing."""
    market.orders.buy("CS1")

    class DiskFull(Exception):
        pass

    def fail(_connection: object) -> None:
        raise DiskFull

    event.listen(market.engine, "commit", fail)
    assert (await market.create("CS1"))["resultCode"] == "000005"
    event.remove(market.engine, "commit", fail)
    assert count(market.engine, Instance) == 0
    assert market.changes == 0
    assert (await market.create("CS1"))["resultCode"] == "000000"


async def test_counters(market: Marketplace) -> None:
    """Replies are counted by activity and code, under documented names only."""
    await market.bought("CS1")
    await market.send(b"{")
    await market.call("fly")
    await market.call("orderNotify")
    assert market.service.answers == {
        ("newInstance", "000000"): 1,
        ("other", "000002"): 2,
        ("orderNotify", "000002"): 1,
    }


async def test_nothing_secret_in_logs_or_reprs(
    market: Marketplace, caplog: pytest.LogCaptureFixture
) -> None:
    """Through a whole life neither the access key nor the customer's key is written anywhere."""
    caplog.set_level(logging.DEBUG)
    instance_id = await market.bought("CS1")
    answer = await market.call("queryInstance", instanceId=instance_id)
    key = answer["info"][0]["appInfo"]["password"]
    written = caplog.text + repr(market.service) + repr(market.service._provisioner)
    for secret in (key, ACCESS_KEY, repr(SECRET)):
        assert secret not in written


def test_an_address_too_long_for_the_marketplace(engine: Engine) -> None:
    """A public URL that frontEndUrl cannot hold is refused at start."""
    with pytest.raises(ValueError, match=r"gateway\.public_url"):
        CallbackService(
            engine=engine,
            settings=KooGallerySettings(),
            catalogue={},
            orders=Marketplace(engine).orders,
            figures=Marketplace(engine).figures,
            secret=SECRET,
            front_end_url="https://" + "x" * 512,
            clock=Marketplace(engine).clock,
            randomness=secrets.token_bytes,
        )


@asynccontextmanager
async def served(market: Marketplace) -> AsyncIterator[int]:
    """The application behind a real uvicorn on a free port; all is answered when this ends."""
    server = uvicorn.Server(uvicorn.Config(market.app, log_config=None, lifespan="off", **SERVING))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listening]))
            yield listening.getsockname()[1]
            server.should_exit = True


async def test_over_a_real_socket(market: Marketplace) -> None:
    """The path and query as uvicorn delivers them verify, and an endless body is cut off."""
    market.orders.buy("o")
    raw = NEW.replace(b'"l"', b'"o-000001"')
    now = market.clock.now_ms()
    query = {"signature": sign(raw, now, "a+b/c="), "timestamp": str(now), "nonce": "a+b/c="}
    async with (
        served(market) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        reply = await http.post("/koogallery", params=query, content=raw)
        assert reply.json()["resultCode"] == "000000"
        flood = await http.post("/koogallery", params=query, content=b"x" * 5_000_000)
        assert (flood.status_code, flood.json()["resultCode"]) == (200, "000002")


async def test_a_caller_that_leaves(market: Marketplace, caplog: pytest.LogCaptureFixture) -> None:
    """Who hangs up inside his body leaves no trace but a count."""
    async with served(market) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /koogallery HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.post("/koogallery")).json()["resultCode"] == "000002"
    assert market.service.answers == {("other", "000002"): 2}
    assert "Traceback" not in caplog.text
