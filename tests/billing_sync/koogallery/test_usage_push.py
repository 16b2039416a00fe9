"""Pushing usage records: the exact bytes, the headers, and what a broken network means."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.koogallery.outcomes import Blame, Kind
from billing_sync.koogallery.signing import push_signature
from billing_sync.koogallery.usage_push import (
    OLD_PATH,
    PATH,
    PushClient,
    body_of,
    serialise,
    serialise_old,
)
from billing_sync.models import UsageRecord
from billing_sync.settings import KooGallerySettings
from tests.billing_sync.marketplace import vector
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


def record(**fields: Any) -> UsageRecord:
    """The record of the vendor's example, as the vector holds it."""
    return UsageRecord(
        **{
            "metering_sn": "6c63c221-1f6b-4141-8ff4-22f5dfe82b65",
            "instance_id": "7f141bf1-aec8-4859-8323-fb3a8ad50721",
            "customer_id": "c",
            "product_id": "p",
            "meter": "requests",
            "begin": 1_660_032_000_000,
            "end": 1_660_035_600_000,
            "recorded_at": 1_660_036_200_000,
            "quantity": 99,
            "value": "99",
            "window": 461120,
            **fields,
        }
    )


def test_the_documented_bytes() -> None:
    """The example's record gives the example's body, byte by byte."""
    expected = vector("Usage push (new) signature header")["input"]["body"]
    assert serialise([record()]) == expected.encode()


def test_a_package_is_named_in_order() -> None:
    """relate_pkg_instance stands between record_time and usage_value; values stay text."""
    body = serialise([record(relate_pkg_instance="pkg", value="0.0001"), record()])
    first, second = json.loads(body)["usage_records"]
    assert list(first) == sorted(first)
    assert first["relate_pkg_instance"] == "pkg"
    assert first["usage_value"] == "0.0001"
    assert "relate_pkg_instance" not in second
    assert b" " not in body


def test_the_old_interface() -> None:
    """The product in place of the number, the rest alike (spec §7.4)."""
    new, old = (
        json.loads(make([record()]))["usage_records"][0] for make in (serialise, serialise_old)
    )
    assert new.pop("metering_sn") == record().metering_sn
    assert old.pop("product_id") == "p"
    assert new == old
    assert list(old) == sorted(old)
    settings = KooGallerySettings()
    assert body_of(settings) is serialise
    assert body_of(settings.model_copy(update={"push_interface": "old"})) is serialise_old


def test_a_thousand_records_at_most() -> None:
    """1000 records fit, 1001 are a mistake of the caller."""
    assert serialise([record()] * 1000)
    with pytest.raises(ValueError, match="1001"):
        serialise([record()] * 1001)


class Mill:
    """The open API's server side: keeps what it is sent."""

    def __init__(
        self, reply: str = '{"error_code":"MKT.0000"}', status: int = 200, path: str = PATH
    ) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.reply, self.status, self.hangs = reply, status, False
        self.app = Starlette(routes=[Route(path, self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        self.seen.append((dict(request.headers), await request.body()))
        if self.hangs:
            await anyio.sleep_forever()
        return Response(self.reply, self.status, headers={"Retry-After": "7"})


def pusher(mill: Mill, **settings: object) -> PushClient:
    keys = {"access_key": "K", "ak": "AK", "sk": "SK", "base_url": "http://koo.test"}
    http = httpx.AsyncClient(transport=httpx.ASGITransport(mill.app))
    validated = KooGallerySettings.model_validate(keys | settings)
    return PushClient(http, validated, FakeClock(), lambda: "the-nonce", budget_s=0.2)


@pytest.mark.parametrize(
    ("way", "signed", "aksk"),
    [("both", True, True), ("signature", True, False), ("aksk", False, True)],
)
async def test_headers_by_setting(way: str, signed: bool, aksk: bool) -> None:
    """push_auth decides which of the two signatures goes along."""
    mill = Mill()
    outcome = await pusher(mill, push_auth=way).push(b'{"usage_records":[]}')
    assert outcome.kind is Kind.ACCEPTED
    ((headers, body),) = mill.seen
    assert body == b'{"usage_records":[]}'
    assert headers["content-type"] == "application/json"
    assert ("signature" in headers) is signed
    assert ("authorization" in headers) is aksk
    if signed:
        assert headers["nonce"] == "the-nonce"
        made = push_signature("K", headers["ts"], headers["nonce"], body)
        assert headers["signature"] == made


@pytest.mark.parametrize("way", ["both", "signature", "aksk"])
async def test_the_old_interface_knows_ak_and_sk_only(way: str) -> None:
    """At its own address, whatever push_auth says; without them nothing is sent."""
    mill = Mill(path=OLD_PATH)
    outcome = await pusher(mill, push_auth=way, push_interface="old").push(b"{}")
    assert outcome.kind is Kind.ACCEPTED
    ((headers, _),) = mill.seen
    assert "signature" not in headers
    assert headers["authorization"].startswith("SDK-HMAC-SHA256 Access=AK, ")
    outcome = await pusher(mill, push_interface="old", access_key=None, sk=None).push(b"{}")
    assert (outcome.message, len(mill.seen)) == ("needs koogallery.sk", 1)


async def test_a_refusal_is_judged() -> None:
    """Status, code and Retry-After reach the outcome."""
    outcome = await pusher(Mill('{"error_code":"MKT.0999"}', 500)).push(b"{}")
    assert (outcome.kind, outcome.code, outcome.retry_after_s) == (Kind.AMBIGUOUS, "MKT.0999", 7.0)


async def test_no_answer_in_time() -> None:
    """A marketplace that took the bytes and says nothing leaves everyone in doubt."""
    mill = Mill()
    mill.hangs = True
    assert (await pusher(mill).push(b"{}")).kind is Kind.AMBIGUOUS
    assert len(mill.seen) == 1


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ({"access_key": None}, "access_key"),
        ({"sk": None}, "sk"),
        ({"push_auth": "aksk", "ak": None}, "ak"),
    ],
)
async def test_missing_keys(settings: dict[str, object], needs: str) -> None:
    """Nothing is sent without the keys the setting asks for, and the message names one."""
    mill = Mill()
    outcome = await pusher(mill, **settings).push(b"{}")
    assert (outcome.kind, outcome.blame) == (Kind.PERMANENT, Blame.CALLER)
    assert outcome.message == f"needs koogallery.{needs}"
    assert mill.seen == []


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A raw TCP server on a free port."""
    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield f"http://127.0.0.1:{port}"


async def push_to(url: str) -> Kind:
    settings = KooGallerySettings.model_validate(
        {"access_key": "K", "push_auth": "signature", "base_url": url}
    )
    async with httpx.AsyncClient() as http:
        return (await PushClient(http, settings, FakeClock(), lambda: "n").push(b"{}")).kind


async def test_a_refused_connection() -> None:
    """Where nobody listens nothing was sent."""
    async with server(lambda _r, _w: anyio.lowlevel.checkpoint()) as url:
        pass
    assert await push_to(url) is Kind.TRANSIENT


async def test_a_connection_cut_after_the_bytes() -> None:
    """Who hangs up after reading may have stored the records."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    async with server(talk) as url:
        assert await push_to(url) is Kind.AMBIGUOUS


@pytest.mark.parametrize("url", ["no-scheme", "http://[::1"])
async def test_an_impossible_address(url: str) -> None:
    """A base_url that is none is the caller's fault, not the records'."""
    assert await push_to(url) is Kind.PERMANENT
