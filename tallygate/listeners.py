"""Serves several ASGI applications on bound sockets in one event loop, until told to stop."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp

from tallygate.addresses import Address

_BACKLOG = 2048


def bind(address: Address) -> socket.socket:
    """A listening TCP socket. Raises OSError naming the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(_BACKLOG)
    except OSError as problem:
        bound.close()
        raise OSError(f"cannot listen on {address}: {problem.strerror}") from problem
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> Address:
    """Where the socket really listens, also when it was bound to port 0."""
    host, port = bound.getsockname()[:2]
    return Address(host, port)


@dataclass(frozen=True)
class Listener:
    """An application and its socket; `options` go to uvicorn.Config."""

    app: ASGIApp
    bound: socket.socket
    options: dict[str, Any] = field(default_factory=dict)


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: several servers share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(listeners: Sequence[Listener], *, owner: int | None, drain_s: float) -> None:
    """Serve until SIGTERM or SIGINT, or until the owner's end of the pipe `owner` closes.

    Open requests get `drain_s` seconds to finish; a second signal ends them at once.
    """
    servers = [_Server(_config(listener, drain_s)) for listener in listeners]
    stop = _Stop(servers)
    async with anyio.create_task_group() as group:
        group.start_soon(_watch_signals, stop)
        if owner is not None:
            group.start_soon(_watch_owner, owner, stop)
        async with anyio.create_task_group() as serving:
            for server, listener in zip(servers, listeners, strict=True):
                serving.start_soon(server.serve, [listener.bound])
        group.cancel_scope.cancel()


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
            "timeout_graceful_shutdown": max(int(drain_s), 1),
            **listener.options,
        },
    )


class _Stop:
    def __init__(self, servers: Sequence[uvicorn.Server]) -> None:
        self._servers = servers
        self._told = False

    def __call__(self) -> None:
        for server in self._servers:
            server.force_exit = self._told
            server.should_exit = True
        self._told = True


async def _watch_signals(stop: _Stop) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop()


async def _watch_owner(pipe: int, stop: _Stop) -> None:
    await anyio.wait_readable(pipe)  # nothing is ever written: readable means closed
    os.close(pipe)
    stop()
