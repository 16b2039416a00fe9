"""Sending: what the merchant sees, and what comes back when nothing comes back."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tallygate.simulator.callbacks import Callbacks, check_url, new_nonce
from tallygate.simulator.checks import Reply
from tallygate.simulator.errors import BadRequest
from tests.tallygate.simulator.stage import KEY, HandClock, serving

pytestmark = pytest.mark.anyio


async def deliver(url: str, patience: float = 5.0) -> Reply:
    callbacks = Callbacks(KEY, HandClock(), patience)
    try:
        return await callbacks.deliver(url, callbacks.sign(b'{"a":"\xc3\xbc"}'))
    finally:
        await callbacks.close()


async def answer_with(
    endpoint: Callable[[Request], Awaitable[Response]], patience: float = 5.0
) -> Reply:
    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    async with serving(app) as [url]:
        return await deliver(f"{url}/?own=1", patience)


async def test_what_is_sent():
    """A POST of UTF-8 JSON, three signed parameters beside the address's own."""
    seen: dict[str, object] = {}

    async def endpoint(request: Request) -> Response:
        seen.update(request.query_params, body=await request.body())
        seen.update({name: request.headers[name] for name in ("content-type", "accept")})
        return PlainTextResponse("fine", 418)

    reply = await answer_with(endpoint)
    assert (reply.status, reply.content, reply.failure) == (418, b"fine", "")
    assert {"signature", "timestamp", "nonce"} <= set(seen)
    assert seen["own"] == "1"
    assert seen["body"] == b'{"a":"\xc3\xbc"}'
    assert seen["content-type"] == "application/json;charset=utf8"
    assert seen["accept"] == "application/json"


async def test_timeout():
    """A merchant who is too slow is a reply without status."""

    async def endpoint(_: Request) -> Response:
        await anyio.sleep(0.5)
        return Response()

    reply = await answer_with(endpoint, patience=0.1)
    assert reply.status is None
    assert "time-out 0.1 s" in reply.failure


async def test_endless_reply():
    """A reply beyond reason is not read to its end."""

    async def endpoint(_: Request) -> Response:
        return Response(b"x" * 1_048_577)

    assert "longer than 1 MiB" in (await answer_with(endpoint)).failure


async def test_nobody_there():
    """A refused connection is a reply without status."""
    async with serving(Starlette()) as [url]:
        pass
    assert (await deliver(url)).status is None


async def test_nonces():
    """64 upper-case hex digits, each once."""
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(each) == 64 and set(each) <= set("0123456789ABCDEF") for each in nonces)


@pytest.mark.parametrize(
    "url", ["", "example.com", "ftp://example.com", "http://", "http://[", "http://a:b"]
)
async def test_bad_urls(url):
    """Only http and https with a host."""
    with pytest.raises(BadRequest):
        check_url(url)
