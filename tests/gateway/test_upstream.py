"""The transport's failures, spoken of in the gateway's errors."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.errors import (
    BadRequest,
    GatewayError,
    Overloaded,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.passage import UpstreamRequest
from gateway.routing import RouteTable
from gateway.settings import Route
from gateway.upstream import Upstreams
from tests.gateway.callers import Listening, listening, table
from tests.servers import Received, upstream

pytestmark = pytest.mark.anyio


class Failing(httpx.AsyncBaseTransport):
    """A transport that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self._error


def request_to(url: str, *, body: bytes | None = None, target: bytes = b"/x") -> UpstreamRequest:
    """A request with the least headers there can be."""
    headers = [(b"host", b"up"), (b"x-b", b"2"), (b"x-a", b"1")]
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
    return UpstreamRequest("POST", url, target, headers, body)


def test_several_upstreams_take_turns() -> None:
    """Each gets the same share."""
    settings = {"name": "r", "path": "/v1", "upstream": ["http://a", "http://b"]}
    (route,) = RouteTable([Route.model_validate(settings)]).routes
    upstreams = Upstreams(Failing(httpx.ReadError("no")))
    assert [upstreams.pick(route).origin for _ in range(4)] == ["http://a", "http://b"] * 2


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (httpx.ConnectError("no"), UpstreamUnavailable),
        (httpx.ConnectTimeout("no"), UpstreamTimeout),
        (httpx.ReadTimeout("no"), UpstreamTimeout),
        (httpx.PoolTimeout("no"), Overloaded),
        (httpx.ReadError("no"), UpstreamProtocol),
        (httpx.RemoteProtocolError("no"), UpstreamProtocol),
        (httpx.LocalProtocolError("no"), BadRequest),
    ],
)
async def test_every_failure_has_its_error(error: Exception, ours: type[GatewayError]) -> None:
    """No foreign exception leaves this module."""
    with pytest.raises(GatewayError) as raised:
        await Upstreams(Failing(error)).send(request_to("http://up"), None, 1)
    assert type(raised.value) is ours
    assert raised.value.__cause__ is error


async def test_target_and_headers_are_sent_as_given() -> None:
    """The transport adds nothing and normalises nothing."""
    with upstream(lambda request: request.reply(b"ok")) as up:
        upstreams = Upstreams()
        target = b"/a/%7e/b%2Fc?q=a+b&q=%20"
        reply = await upstreams.send(request_to(up.url, body=b"{}", target=target), None, 1)
        body = b"".join([chunk async for chunk in reply.chunks()])
        await reply.aclose()
        await upstreams.aclose()
        (seen,) = up.requests
    assert (reply.status, body) == (200, b"ok")
    assert (seen.method, seen.target, seen.body) == ("POST", target, b"{}")
    assert seen.headers == [
        (b"host", b"up"),
        (b"x-b", b"2"),
        (b"x-a", b"1"),
        (b"content-length", b"2"),
    ]


async def test_reply_headers_keep_order_and_repeats() -> None:
    """Names in lower case, values untouched."""

    def answer(request: Received) -> None:
        request.reply(b"", b"X-Two: b", b"Set-Cookie: a=1", b"X-One:  a ", b"Set-Cookie: b=2")

    with upstream(answer) as up:
        upstreams = Upstreams()
        reply = await upstreams.send(request_to(up.url, body=b""), None, 1)
        await reply.aclose()
        await upstreams.aclose()
    assert reply.headers == [
        (b"content-length", b"0"),
        (b"x-two", b"b"),
        (b"set-cookie", b"a=1"),
        (b"x-one", b"a"),
        (b"set-cookie", b"b=2"),
    ]


async def test_an_error_of_the_bodys_own_comes_through() -> None:
    """It is not the upstream's, and the connection is given up."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise KeyError("mine")

    request = UpstreamRequest(
        "POST", "", b"/", [(b"host", b"up"), (b"transfer-encoding", b"chunked")], None
    )
    with upstream(lambda request: request.reply(b"ok")) as up:
        upstreams = Upstreams()
        sent = UpstreamRequest(request.method, up.url, request.target, request.headers, None)
        with pytest.raises(KeyError, match="mine"):
            await upstreams.send(sent, broken(), 1)
        reply = await upstreams.send(request_to(up.url, body=b""), None, 1)
        await reply.aclose()
        await upstreams.aclose()
    assert up.connections == 2


async def test_a_unix_socket_is_an_upstream_here_too(tmp_path: Path) -> None:
    """Written as for the line-rate shell."""
    with listening(tmp_path / "up.sock") as server:
        upstreams = Upstreams()
        picked = upstreams.pick(table(server.url).routes[0])
        async with anyio.create_task_group() as group:
            group.start_soon(partial(anyio.to_thread.run_sync, partial(answer_once, server)))
            reply = await upstreams.send(request_to(picked.origin), None, 1)
        assert reply.status == 204
        await reply.aclose()
        await upstreams.aclose()


def answer_once(server: Listening) -> None:
    """A reply to the first request."""
    peer = server.accept()
    assert peer.recv(1 << 16).startswith(b"POST /x HTTP/1.1\r\n")
    peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


async def test_the_authorities_of_a_route_are_its_own(tmp_path: Path) -> None:
    """One that is not there is no reason to trust the usual ones."""
    upstreams = Upstreams()
    route = table("https://up.test", pool={"ca_file": str(tmp_path / "none.pem")}).routes[0]
    picked = upstreams.pick(route)
    with pytest.raises(OSError, match=r"none\.pem"):
        await upstreams.send(request_to(picked.origin), None, 1)
    await upstreams.aclose()
