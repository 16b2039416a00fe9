"""A maker behind a URL: what it is sent, and what it may answer."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from billing_sync.licence_hook import MAX_REPLY, HookMaker, given_by, message_of
from billing_sync.licences import LicenceFile, LicenceRefused, Made, MakerFailed, NotYet, Reason
from metering.clock import SystemClock
from tests.billing_sync.test_licence_makers import request_for
from tests.servers import Received, Upstream, upstream

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef" * 2).decode()


@contextmanager
def hook(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> Iterator[Upstream]:
    """A hook that always answers so."""

    def answer(request: Received) -> None:
        request.reply(body, b"Content-Type: application/json", *headers, status=status)

    with upstream(answer) as server:
        yield server


async def made_by(server: Upstream, timeout_s: float = 5) -> Made:
    async with httpx.AsyncClient(trust_env=False) as http:
        maker = HookMaker(http, f"{server.url}/make", [SECRET], SystemClock(), timeout_s)
        assert SECRET not in repr(maker)
        return await maker.make(request_for())


async def test_what_it_is_sent() -> None:
    """Everything a function is given, signed so that a library of Standard Webhooks verifies it."""
    with hook(b'{"characters":"L-1"}') as server:
        assert (await made_by(server)).content == b"L-1"
    (request,) = server.requests
    headers = {name.decode().lower(): value.decode() for name, value in request.headers}
    said = Webhook(SECRET).verify(request.body, headers)
    assert said["type"] == "licence.requested"
    assert said["data"] == {
        "id": "lic_1",
        "event_id": "e",
        "instance_id": "i",
        "product_id": "LIC",
        "order_id": "o",
        "order_line_id": "o-1",
        "customer_id": "c",
        "customer_name": "买家",
        "charging_mode": "PERIOD",
        "quantity": 2,
        "effective": "2026-01-01T00:00:00Z",
        "expires": "2027-01-01T00:00:00Z",
        "fingerprint": "mac-1",
    }
    assert headers["webhook-id"] == "lic_1"


async def test_a_file() -> None:
    """By name and base64."""
    body = {"file_name": "a.lic", "file_base64": base64.b64encode(b"\x00\xff").decode()}
    with hook(json.dumps(body).encode()) as server:
        assert await made_by(server) == Made("FILE", "a.lic", b"\x00\xff")


async def test_a_refusal() -> None:
    """By the name of its reason."""
    refusing = b'{"refused":"quota_used_up","message":"10 of 10"}'
    with hook(refusing) as server, pytest.raises(LicenceRefused, match="10 of 10") as caught:
        await made_by(server)
    assert caught.value.reason is Reason.QUOTA_USED_UP


@pytest.mark.parametrize("status", [b"202 Accepted", b"429 Often", b"503 Away"])
async def test_later(status: bytes) -> None:
    """It will be asked again, when it says so."""
    with hook(b"", status, b"Retry-After: 7") as server, pytest.raises(NotYet) as caught:
        await made_by(server)
    assert caught.value.after_s == 7


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"characters":"L"}', b"500 Oops"),
        (b'{"characters":"L"}', b"302 Found"),
        (b"", b"200 OK"),
        (b"[]", b"200 OK"),
        (b"{}", b"200 OK"),
        (b'{"characters":7}', b"200 OK"),
        (b'{"characters":""}', b"200 OK"),
        (b'{"refused":"because"}', b"200 OK"),
        (b'{"file_name":"a","file_base64":"!"}', b"200 OK"),
        (b'{"file_name":"../a","file_base64":"YQ=="}', b"200 OK"),
        (b'{"characters":"' + b"x" * MAX_REPLY + b'"}', b"200 OK"),
    ],
    ids=["500", "302", "empty", "list", "nothing", "number", "short", "reason", "base64", "name", "huge"],
)  # fmt: skip
async def test_what_is_no_licence(body: bytes, status: bytes) -> None:
    """Is asked for again."""
    with hook(body, status) as server, pytest.raises(MakerFailed):
        await made_by(server)


async def test_a_hook_that_is_away_or_hangs() -> None:
    """The wait has an end."""
    hanging = upstream(lambda request: request.wait_for_hang_up())
    with hanging as server, pytest.raises(MakerFailed, match=r"no reply within 0\.2 s"):
        await made_by(server, 0.2)
    with pytest.raises(MakerFailed, match="ConnectError"):
        await made_by(server)


@given(
    st.binary(max_size=200) | st.text().map(lambda text: json.dumps({"characters": text}).encode())
)
def test_any_reply_is_read_or_refused(body: bytes) -> None:
    """No other exception comes out."""
    with suppress(MakerFailed, LicenceRefused):
        assert isinstance(given_by(body), str | LicenceFile)


def test_without_an_end() -> None:
    """Null, not a date."""
    said: dict[str, Any] = json.loads(message_of(replace(request_for(), expires=None), 0))
    assert said["data"]["expires"] is None
