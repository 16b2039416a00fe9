"""Activating authorization codes and asking about them, over a real socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent
from billing_sync.koogallery.aksk import authorization
from billing_sync.koogallery.client import Reply
from billing_sync.koogallery.licence_codes import CodeClient, CodeStanding, standing_of
from billing_sync.settings import KooGallerySettings
from tests.fakes import FakeClock
from tests.servers import Received, Upstream, upstream

pytestmark = pytest.mark.anyio

INFO = {
    "status": "ALIVE",
    "expire_time": "20230726121646",
    "product_id": "12345",
    "amount": 2,
    "order_id": " CS123",
}
# As the vendor's page prints it: the information is JSON within a string.
ACTIVATED = {
    "error_code": "92020000",
    "error_msg": "success",
    "data": {"license_code_info": json.dumps(INFO)},
}


@contextmanager
def open_api(reply: object, status: bytes = b"200 OK") -> Iterator[Upstream]:
    def answer(request: Received) -> None:
        request.reply(json.dumps(reply).encode(), b"Content-Type: application/json", status=status)

    with upstream(answer) as server:
        yield server


async def asked(
    server: Upstream, what: str = "activate", code: str = "PL1", **more: Any
) -> CodeStanding:
    known = {"ak": "AK", "sk": "SK", "base_url": server.url} | more
    async with httpx.AsyncClient(trust_env=False) as http:
        client = CodeClient(http, KooGallerySettings.model_validate(known), FakeClock(), 2)
        answer: CodeStanding = await getattr(client, what)(code)
        return answer


@pytest.mark.parametrize("what", ["activate", "heartbeat"])
async def test_what_is_sent(what: str) -> None:
    """The code in a JSON body, the stage signed with the rest."""
    with open_api(ACTIVATED) as server:
        said = await asked(server, what)
    assert said == CodeStanding(
        "accepted",  # type: ignore[arg-type]  # an enum of strings
        "92020000",
        "success",
        "ALIVE",
        1_690_373_806_000,
        "12345",
        "CS123",
        "2",
    )
    (request,) = server.requests
    path = f"/api/mkp-openapi-public/global/v1/license/{what}"
    assert (request.method, request.target.decode()) == ("POST", path)
    assert json.loads(request.body) == {"license": "PL1"}
    headers = {name.decode().lower(): value.decode() for name, value in request.headers}
    assert headers["x-stage"] == "RELEASE"
    names = ("content-type", "host", "x-sdk-date", "x-stage")
    signed = {name: headers[name] for name in names}
    url = server.url + path
    assert headers["authorization"] == authorization(
        ("AK", "SK"), "POST", url, signed, request.body
    )
    assert "SignedHeaders=content-type;host;x-sdk-date;x-stage," in headers["authorization"]


async def test_app_authentication() -> None:
    """Where an APP key is set, it signs in place of AK and SK."""
    with open_api(ACTIVATED) as server:
        await asked(server, licence={"app_key": "the-app", "app_secret": "s"})
    assert b"Access=the-app," in (server.requests[0].header(b"authorization") or b"")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("92020001", "ambiguous"),
        ("92020003", "permanent"),
        ("92020004", "permanent"),
        ("92020005", "permanent"),
        ("92020011", "permanent"),
        ("APIGW.0301", "permanent"),
        ("APIGW.0308", "transient"),
    ],
)
async def test_what_may_be_wrong(code: str, kind: str) -> None:
    """By the vendor's table; a message is for people."""
    with open_api({"error_code": code, "error_msg": "why"}) as server:
        said = await asked(server)
    assert (said.kind.value, said.code, said.message, said.status) == (kind, code, "why", "")


async def test_nobody_there() -> None:
    """Nothing is raised for what the network does."""
    with open_api(ACTIVATED) as server:
        pass
    assert (await asked(server)).kind.value == "transient"
    with upstream(lambda request: request.hang_up()) as server:
        assert (await asked(server)).kind.value == "ambiguous"
    assert (await asked(server, ak=None)).code == "configuration"


@pytest.mark.parametrize("code", ["", "x" * 65, "a\nb"])
async def test_what_can_be_no_code(code: str) -> None:
    """Is not sent."""
    with open_api(ACTIVATED) as server, pytest.raises(BadEvent):
        await asked(server, code=code)
    assert server.requests == []


JSON = st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "license_code_info", "status", "expire_time", "error_code"]), inner, max_size=4))  # fmt: skip


@given(JSON, st.integers(200, 599))
def test_any_reply_is_judged(reply: object, status: int) -> None:
    """Whatever the marketplace makes of its data."""
    said = standing_of(Reply(status, json.dumps(reply).encode(), None))
    assert said.expires >= 0
    assert len(said.status) <= 64
