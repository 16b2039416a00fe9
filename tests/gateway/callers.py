"""Fakes for tests of upstream connections: a caller that notes what it hears, sockets to connect to."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

from gateway.connections import Connection
from gateway.errors import GatewayError
from gateway.pool import Pool
from gateway.pools import Pools
from gateway.routing import RouteTable
from gateway.settings import Route

_WAIT_S = 10.0


async def until(condition: Callable[[], Any]) -> Any:
    """The first true value; fails when there is none for long. The event loop runs meanwhile."""
    with anyio.fail_after(_WAIT_S):
        while not (value := condition()):  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.002)
    return value


class Hearing:
    """An exchange that only listens. `heard` are the names of what was called, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.connection: Connection | None = None
        self.refusal: GatewayError | None = None
        self.error: Exception | None = None
        self.data = b""

    def connected(self, connection: Connection) -> None:
        self.heard.append("connected")
        self.connection = connection

    def not_connected(self, error: GatewayError) -> None:
        self.heard.append("not_connected")
        self.refusal = error

    def received(self, data: bytes) -> None:
        self.heard.append("received")
        self.data += data

    def lost(self, error: Exception | None) -> None:
        self.heard.append("lost")
        self.error = error

    def upstream_full(self) -> None:
        self.heard.append("full")

    def upstream_ready(self) -> None:
        self.heard.append("ready")

    async def hears(self, name: str) -> None:
        """Return when it was called so."""
        await until(lambda: name in self.heard)


async def connect(pool: Pool, caller: Hearing | None = None) -> tuple[Connection, Hearing]:
    """A connection, idle or new, and who has it."""
    caller = caller or Hearing()
    connection = pool.take(caller)
    if connection is None:
        await until(lambda: caller.heard)
        assert caller.connection is not None, caller.refusal
        connection = caller.connection
    return connection, caller


class Listening:
    """A socket that takes connections in its backlog; the test speaks for the server."""

    def __init__(self, bound: socket.socket, url: str) -> None:
        self._bound = bound
        self.url = url
        self.accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """The server's side of the oldest connection that was not accepted yet."""
        peer, _ = self._bound.accept()
        peer.settimeout(_WAIT_S)
        self.accepted.append(peer)
        return peer


@contextmanager
def listening(
    path: Path | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Listening]:
    """A socket to connect to: TCP, or at a path."""
    bound = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(str(path) if path else (host, port))
    bound.listen(64)
    bound.settimeout(_WAIT_S)
    url = f"http+unix://{path}" if path else f"http://{host}:{bound.getsockname()[1]}"
    server = Listening(bound, url)
    try:
        yield server
    finally:
        for each in [bound, *server.accepted]:
            each.close()


@contextmanager
def backlog_full(path: Path | None = None) -> Iterator[tuple[str, socket.socket]]:
    """The URL of a server that accepts nobody any more, and its listening socket."""
    family = socket.AF_UNIX if path else socket.AF_INET
    address: Any = str(path) if path else ("127.0.0.1", 0)
    fillers: list[socket.socket] = []
    with socket.socket(family) as bound:
        bound.bind(address)
        bound.listen(0)
        bound.settimeout(_WAIT_S)
        for _ in range(8):
            filler = socket.socket(family)
            filler.setblocking(False)
            filler.connect_ex(bound.getsockname())
            fillers.append(filler)
        port = "" if path else bound.getsockname()[1]
        try:
            yield f"http+unix://{path}" if path else f"http://127.0.0.1:{port}", bound
        finally:
            for filler in fillers:
                filler.close()


@asynccontextmanager
async def pooled(*upstreams: str, resolve: Any = None, **route: Any) -> AsyncIterator[Pools]:
    """Pools that serve one route, `chat`."""
    pools = Pools(**({"resolve": resolve} if resolve else {}))
    async with pools.running():
        pools.serve(table(*upstreams, **route).routes)
        yield pools


@asynccontextmanager
async def pool_of(upstream: str, resolve: Any = None, **route: Any) -> AsyncIterator[Pool]:
    """The pool of one upstream."""
    async with pooled(upstream, resolve=resolve, **route) as pools:
        yield pools.balancers["chat"].pick()


def table(*upstreams: str, **route: Any) -> RouteTable:
    """The table of one route, `chat`."""
    return RouteTable([Route(name="chat", path="/v1", upstream=list(upstreams), **route)])


def reset(peer: socket.socket) -> None:
    """Close so that the other side gets a TCP reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()


def server_context(cert: Path) -> ssl.SSLContext:
    """A TLS server with a certificate and its key in one file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert)
    return context
