"""Making and uploading: slow and broken makers, an open API that fails, several control planes."""

import time
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine
from sqlmodel import col, update

from billing_sync.errors import UnknownLicence, WrongState
from billing_sync.koogallery.hosts import Hosts
from billing_sync.licence_models import Licence
from billing_sync.licence_retrying import retry, retry_rejected
from billing_sync.licences import NotYet
from billing_sync.store import erasing
from billing_sync.store.engine import writing
from tests.billing_sync.licensing import KEEPER, Maker, Shop, file_api, jobs_of, rows, states
from tests.servers import Received

pytestmark = pytest.mark.anyio


def answering(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> Any:
    """One answer of the open API."""

    def answer(request: Received) -> None:
        request.reply(body, b"Content-Type: application/json", *headers, status=status)

    return answer


def hanging_up(request: Received) -> None:
    """It took the upload, and nobody learns of it."""
    request.hang_up()


@pytest.mark.parametrize(
    "trouble",
    [
        answering(b'{"error_code":"MKT.0999"}', b"500 Oops"),
        answering(b'{"error_code":"APIGW.0301"}', b"401 No"),
        answering(b"", b"429 Often", b"Retry-After: 2"),
        hanging_up,
    ],
    ids=["internal", "keys", "429", "cut"],
)
async def test_an_upload_goes_again(engine: Engine, trouble: Any) -> None:
    """The very same bytes, ever more rarely, until it is confirmed."""
    with file_api() as (api, server):
        api.plan = [trouble, trouble]
        shop = Shop(engine, server.url)
        await shop.ask(await shop.licensed("o1"))
        await shop.work()
        (row,) = rows(engine)
        assert (row.state, row.attempts, bool(row.code)) == ("uploading", 1, True)
        assert row.next_attempt >= shop.clock.now_ms() + 2000
        await shop.work()
        assert len(api.uploads) == 1
        for _ in range(2):
            shop.clock.advance(seconds=11)
            await shop.jobs.upload_due()
        assert states(engine) == {"delivered": 1}
        assert len(api.uploads) == 3
        assert len({str(upload) for upload in api.uploads}) == 1
        assert len(shop.maker.requests) == 1
        await shop.http.aclose()


async def test_an_upload_that_is_refused_for_good(engine: Engine) -> None:
    """Waits for a person, who may send it again; it is never made anew."""
    with file_api() as (api, server):
        api.plan = [answering(b'{"error_code":"MKT.0101","error_msg":"event"}', b"400 Bad")]
        shop = Shop(engine, server.url)
        await shop.ask(await shop.licensed("o1"))
        await shop.work()
        (row,) = rows(engine)
        assert (row.state, row.code, row.error) == ("rejected", "MKT.0101", "event")
        shop.clock.advance(seconds=700)
        await shop.work()
        assert len(api.uploads) == 1
        assert retry_rejected(engine, shop.clock.now_ms()) == [row.id]
        await shop.work()
        assert (states(engine), len(shop.maker.requests)) == ({"delivered": 1}, 1)
        assert api.uploads[0] == api.uploads[1]
        await shop.http.aclose()


async def test_too_often_means_silence(engine: Engine) -> None:
    """No upload is tried before it ends, whichever licence it is of."""
    with file_api() as (api, server):
        api.plan = [answering(b"", b"429 Often", b"Retry-After: 30")]
        shop = Shop(engine, server.url)
        instance = await shop.licensed("o1")
        for event in ("e1", "e2"):
            await shop.ask(instance, event)
        await shop.work()
        assert len(api.uploads) == 1
        shop.clock.advance(seconds=29)
        await shop.work()
        assert len(api.uploads) == 1
        shop.clock.advance(seconds=1)
        await shop.work()
        assert states(engine) == {"delivered": 2}
        await shop.http.aclose()


async def test_characters(engine: Engine) -> None:
    """A string travels in the note alone."""
    with file_api() as (api, server):
        shop = Shop(engine, server.url)
        shop.maker.plan = [lambda _: "ключ-许可"]
        await shop.ask(await shop.licensed("o1"))
        await shop.work()
        await shop.http.aclose()
    assert api.uploads == [("event-1", {"type": "CHARACTERS", "characters": "ключ-许可"}, None)]


async def test_without_keys_nothing_is_lost(engine: Engine) -> None:
    """The licence waits until ak and sk are there."""
    shop = Shop(engine)
    shop.jobs.client._auth = None
    await shop.ask(await shop.licensed("o1"))
    await shop.work()
    (row,) = rows(engine)
    assert (row.state, row.code) == ("uploading", "configuration")
    await shop.http.aclose()


def slow(_: object) -> None:
    time.sleep(0.6)


@pytest.mark.parametrize(
    "trouble",
    [
        ValueError("customer-secret"),
        SystemExit(3),
        NotYet("tomorrow", 8.0),
        lambda _: None,
        slow,
    ],
    ids=["raises", "exits", "later", "nothing", "slow"],
)
async def test_a_maker_that_fails_is_asked_again(engine: Engine, trouble: Any) -> None:
    """Under the same id; what it raised is named by kind and place, never by its words."""
    shop = Shop(engine, timeout=0.3)
    shop.maker.plan = [trouble]
    await shop.ask(await shop.licensed("o1"))
    await shop.jobs.make_due()
    (row,) = rows(engine)
    assert (row.state, row.attempts, bool(row.error)) == ("making", 1, True)
    assert "secret" not in row.error
    await shop.jobs.make_due()
    assert len(shop.maker.requests) == 1
    shop.clock.advance(seconds=9)
    await shop.jobs.make_due()
    assert states(engine) == {"uploading": 1}
    assert shop.maker.requests[0] == shop.maker.requests[1]
    assert shop.jobs.results["make", "waiting"] == 1


async def test_two_control_planes(engine: Engine) -> None:
    """Each wish is made by one of them, each licence uploaded by one."""
    with file_api() as (api, server):
        shop = Shop(engine, server.url)
        other = jobs_of(engine, shop.maker, shop.http, shop)
        instance = await shop.licensed("o1")
        for number in range(12):
            await shop.ask(instance, f"e{number}")
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for jobs in (shop.jobs, other, shop.jobs, other):
                    group.start_soon(jobs.make_due)
                    group.start_soon(jobs.upload_due)
        assert states(engine) == {"delivered": 12}
        assert len(api.uploads) == len(shop.maker.requests) == 12
        await shop.http.aclose()


async def test_who_comes_too_late_changes_nothing(engine: Engine) -> None:
    """The lease of a plane that hung ends, another one makes the licence, and it stays that one."""
    shop = Shop(engine)
    await shop.ask(await shop.licensed("o1"))
    late, quick = Maker(), Maker()
    entered, leave = anyio.Event(), anyio.Event()

    class Hung:
        async def make(self, request: Any) -> Any:
            entered.set()
            await leave.wait()
            return await jobs_of(engine, late, shop.http, shop).maker.make(request)

    hung = jobs_of(engine, late, shop.http, shop)
    hung.maker = Hung()
    async with anyio.create_task_group() as group:
        group.start_soon(hung.make_due)
        await entered.wait()
        shop.clock.advance(seconds=36)
        assert await jobs_of(engine, quick, shop.http, shop).make_due() == 1
        (row,) = rows(engine)
        leave.set()
    assert rows(engine) == [row]
    assert len(late.requests) == len(quick.requests) == 1
    assert quick.requests[0].id.encode() in KEEPER.made(row).content


async def test_erased_buyers(engine: Engine) -> None:
    """With the buyer's data go fingerprints and licences; nothing is made or uploaded any more."""
    shop = Shop(engine)
    instance = await shop.licensed("o1")
    for event in ("e1", "e2"):
        await shop.ask(instance, event)
        if event == "e1":
            await shop.jobs.make_due()
    await shop.call("releaseInstance", instanceId=instance)
    with writing(engine) as session:
        now_ms = shop.clock.now_ms()
        assert erasing.erase(session, now_ms, now_ms, 10) == [instance]
    assert {(row.state, row.asked, row.sealed) for row in rows(engine)} == {("rejected", "", "")}
    with pytest.raises(WrongState, match="erased"):
        retry(engine, rows(engine)[0].id, shop.clock.now_ms())


async def test_released_before_it_was_made(engine: Engine) -> None:
    """There is nothing to license any more."""
    shop = Shop(engine)
    instance = await shop.licensed("o1")
    await shop.ask(instance)
    await shop.call("releaseInstance", instanceId=instance)
    await shop.jobs.make_due()
    (row,) = rows(engine)
    assert (row.state, row.code, shop.maker.requests) == ("refused", "000901", [])


async def test_another_secret_key(engine: Engine) -> None:
    """What cannot be opened is not uploaded, and somebody is told."""
    shop = Shop(engine)
    await shop.ask(await shop.licensed("o1"))
    await shop.jobs.make_due()
    with writing(engine) as session:
        session.execute(update(Licence).values(sealed=KEEPER.seal("another row", b"x")))
    await shop.jobs.upload_due()
    (row,) = rows(engine)
    assert (row.state, row.code) == ("rejected", "sealed")
    with writing(engine) as session:
        session.execute(update(Licence).where(col(Licence.id) == row.id).values(state="making"))
        session.execute(update(Licence).values(asked="AAAA", next_attempt=0))
    await shop.jobs.make_due()
    assert states(engine) == {"refused": 1}


async def test_trying_again_by_hand(engine: Engine) -> None:
    """Whatever is not due already."""
    shop = Shop(engine)
    await shop.ask(await shop.licensed("o1"))
    now_ms = shop.clock.now_ms()
    (row,) = rows(engine)
    with pytest.raises(WrongState, match="due already"):
        retry(engine, row.id, now_ms)
    with pytest.raises(UnknownLicence):
        retry(engine, "lic_0", now_ms)
    shop.maker.plan = [ValueError()]
    await shop.jobs.make_due()
    assert retry(engine, row.id, now_ms) == "making"
    await shop.jobs.make_due()
    assert states(engine) == {"uploading": 1}


async def test_the_fallback_host(engine: Engine) -> None:
    """Where the first host cannot be reached the second takes it."""
    with file_api() as (api, server):
        shop = Shop(engine, server.url)
        shop.jobs.client._api._hosts = Hosts(["http://127.0.0.1:1", server.url])
        await shop.ask(await shop.licensed("o1"))
        await shop.work()
        assert (states(engine), len(api.uploads)) == ({"delivered": 1}, 1)
        await shop.http.aclose()
