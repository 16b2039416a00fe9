"""Serves several ASGI applications on bound sockets in one event loop, until told to stop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import uvicorn
from starlette.types import ASGIApp

from tallygate.accepting import Acceptor
from tallygate.addresses import Address
from tallygate.sharing import Share
from tallygate.stopping import Stop

_BACKLOG: Final = 2048
_CUT_OFF_S: Final = 5.0
_JUST_CAME_S: Final = 0.2


def bind(address: Address) -> socket.socket:
    """A listening TCP socket. Raises OSError naming the address.

    The protocol is named because asyncio switches Nagle's delay off only where it is.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(_BACKLOG)
    except (OSError, UnicodeError) as problem:  # a name that cannot be a host name is the latter
        bound.close()
        reason = getattr(problem, "strerror", None) or problem
        raise OSError(f"cannot listen on {address}: {reason}") from problem
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> Address:
    """Where the socket really listens, also when it was bound to port 0."""
    host, port = bound.getsockname()[:2]
    return Address(host, port)


@dataclass(frozen=True)
class Listener:
    """An application and its socket; `options` go to uvicorn.Config.

    `share` is for a socket on which other processes accept too.
    """

    app: ASGIApp
    bound: socket.socket
    options: dict[str, Any] = field(default_factory=dict)
    share: Share | None = None


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: several servers share one process."""

    def __init__(self, listener: Listener, drain_s: float) -> None:
        super().__init__(_config(listener, drain_s))
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but on a shared socket with an acceptor of our own."""
        share = self._listener.share
        if share is None:
            await super().startup(sockets)
            return
        await super().startup([])
        if not self.should_exit:
            taken = Acceptor(
                self._listener.bound,
                share,
                self.server_state.connections,
                self._protocol,
                self.config.ssl,
            )
            self.servers.append(taken)  # type: ignore[arg-type]  # is closed as any other

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(listeners: Sequence[Listener], stop: Stop, *, drain_s: float) -> None:
    """Serve until told to stop. Raises OSError when an application cannot start.

    Open requests of the first listener get `drain_s` seconds to finish, or until told twice; then
    they are cut off. The others, where the operator looks on, end after it; without an owner they
    end with it. Other processes that accept on the same sockets are not disturbed.
    """
    servers = [_Server(listener, drain_s) for listener in listeners]
    async with anyio.create_task_group() as group:
        group.start_soon(_end_when_told, servers, stop)
        async with anyio.create_task_group() as serving:
            for server, listener in zip(servers, listeners, strict=True):
                serving.start_soon(_serve_one, server, listener.bound, servers)
        group.cancel_scope.cancel()


async def _serve_one(
    server: uvicorn.Server, bound: socket.socket, all_servers: Sequence[uvicorn.Server]
) -> None:
    try:
        await server.serve([bound])
    except SystemExit:  # uvicorn's word for an application that does not start
        raise OSError(f"the application at {address_of(bound)} did not start") from None
    finally:
        for other in all_servers:
            other.should_exit = True
    if cut_off := _cut_off(server):
        await asyncio.wait(cut_off, timeout=_CUT_OFF_S)
    if server.force_exit:  # in its haste uvicorn leaves that out
        await server.lifespan.shutdown()


async def _end_when_told(servers: Sequence[uvicorn.Server], stop: Stop) -> None:
    await stop.told.wait()
    ending = servers if stop.orphaned else servers[:1]
    for server in ending:
        _accept_no_more(server)
    with anyio.move_on_after(_JUST_CAME_S):  # uvicorn closes who has not asked for anything yet
        await stop.hurried.wait()
    for server in ending:
        server.should_exit = True
    await stop.hurried.wait()
    for server in servers:
        server.should_exit = server.force_exit = True
        _cut_off(server)


def _accept_no_more(server: uvicorn.Server) -> None:
    """Close this process's copy of the sockets; whoever else has one goes on accepting."""
    if server.started:
        for listening in server.servers:
            listening.close()


def _cut_off(server: uvicorn.Server) -> set[asyncio.Task[None]]:
    """The requests that are still open, each told to end."""
    still_open = set(server.server_state.tasks)
    for task in still_open:
        task.cancel()
    return still_open


def _config(listener: Listener, drain_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        **{
            "http": "httptools",
            "ws": "none",
            "log_config": None,
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "lifespan": "on",
            "timeout_graceful_shutdown": max(round(drain_s), 1),
            **listener.options,
        },
    )


class QuietUvicorn(logging.Filter):
    """Leaves out what uvicorn reports as errors and we do on purpose: cutting a client off."""

    def filter(self, record: logging.LogRecord) -> bool:
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not cancelled and not record.getMessage().endswith("without completing response.")
