"""Opens connections to one upstream: TCP to the first address that answers, TLS, unix sockets.

Addresses are raced as in RFC 8305: the next one is tried when one fails or keeps us waiting.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import httpx

from gateway.connections import Connection, Home
from gateway.errors import GatewayError, UpstreamTimeout, UpstreamUnavailable
from gateway.pool import Dialled
from gateway.resolving import Address, Addresses

log = logging.getLogger("tallygate.gateway")

_STAGGER_S: Final = 0.25  # RFC 8305 §8
_BACKLOG_FULL_S: Final = 0.02  # a full unix socket says so at once and never later


class Starter(Protocol):
    """Runs tasks beside the caller's, as a task group does."""

    def start_soon(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> object: ...


@dataclass(frozen=True, slots=True)
class Tls:
    """How an upstream is encrypted: its certificate must be `host`'s."""

    context: ssl.SSLContext
    host: str


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates are verified against this file, or against the authorities httpx trusts.

    Raises OSError naming the file.
    """
    try:
        context = (
            ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
        )
    except OSError as problem:  # an SSLError too
        reason = problem.strerror or problem
        raise OSError(f"ca_file: {ca_file} cannot be used: {reason}") from problem
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialler:
    """`name` is for the log."""

    def __init__(
        self, name: str, addresses: Addresses, tls: Tls | None, connect_s: float, starter: Starter
    ) -> None:
        self._name = name
        self.addresses = addresses
        self._tls = tls
        self._connect_s = connect_s
        self._starter = starter
        self._told = ""

    def __call__(self, home: Home, dialled: Dialled) -> None:
        """Begin one connect. `dialled` hears how it ended, later, unless everything ends."""
        self._starter.start_soon(self._dial, home, dialled)

    async def _dial(self, home: Home, dialled: Dialled) -> None:
        dialled(await self._outcome(home))

    async def _outcome(self, home: Home) -> Connection | GatewayError:
        try:
            with anyio.fail_after(self._connect_s):
                connection = await self._connect(home)
        except TimeoutError as error:
            return self._failed(UpstreamTimeout(), error)
        except OSError as error:  # of the name, the socket, or TLS
            return self._failed(UpstreamUnavailable(), error)
        except Exception as error:
            log.exception("connecting to %s failed", self._name)
            return self._failed(UpstreamUnavailable(), error)
        if self._told:
            log.warning("%s can be reached again", self._name)
            self._told = ""
        return connection

    def _failed(self, failure: GatewayError, error: Exception) -> GatewayError:
        """Say each reason once."""
        reason = str(error) or "no connection in time"
        if reason != self._told:
            log.warning("%s cannot be reached: %s", self._name, reason)
            self._told = reason
        failure.__cause__ = error
        return failure

    async def _connect(self, home: Home) -> Connection:
        race = Race(await self.addresses.in_turn())
        try:
            sock, address = await race.run()
        finally:
            for loser in race.tried:
                if loser != race.winner:
                    self.addresses.failed(loser)
        try:
            return await self._wrapped(sock, lambda: Connection(home, address))
        except BaseException:
            sock.close()
            raise

    async def _wrapped(self, sock: socket.socket, made: Callable[[], Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        tls, host = (self._tls.context, self._tls.host) if self._tls else (None, None)
        if sock.family == socket.AF_UNIX:
            return (await loop.create_unix_connection(made, sock=sock))[1]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (await loop.create_connection(made, sock=sock, ssl=tls, server_hostname=host))[1]


class Race:
    """The first of some addresses to take a connection."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._socket: socket.socket | None = None
        self._error: OSError | None = None
        self.tried: list[Address] = []
        self.winner: Address | None = None

    async def run(self) -> tuple[socket.socket, Address]:
        """A connected socket and where to. Raises the last OSError when nobody answered."""
        try:
            await self._run()
        except BaseException:
            if self._socket is not None:
                self._socket.close()
            raise
        if self._socket is None or self.winner is None:
            raise self._error or OSError("there is no address")
        return self._socket, self.winner

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            for address in self._addresses:
                over = anyio.Event()
                self.tried.append(address)
                group.start_soon(self._try, address, over, group.cancel_scope)
                with anyio.move_on_after(_STAGGER_S):
                    await over.wait()

    async def _try(self, address: Address, over: anyio.Event, rest: anyio.CancelScope) -> None:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await _connect(sock, address)
        except OSError as error:
            self._error = error
            sock.close()
            over.set()
        except BaseException:
            sock.close()
            raise
        else:
            if self._socket is not None:
                sock.close()
                return
            self._socket, self.winner = sock, address
            rest.cancel()


async def _connect(sock: socket.socket, address: Address) -> None:
    if address.family != socket.AF_UNIX:
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
        return
    while True:
        try:
            sock.connect(address.sockaddr)
        except BlockingIOError:
            await anyio.sleep(_BACKLOG_FULL_S)
        else:
            return
