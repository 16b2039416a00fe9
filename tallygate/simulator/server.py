"""Runs the simulator under uvicorn until a signal ends it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
import uvicorn

from .app import build_app
from .clock import WallClock
from .settings import SimulatorSettings


class _Announcing(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        click.echo(f"KooGallery simulator on {self._url}")


def run(settings: SimulatorSettings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; port 0 takes a free one. Raises OSError when taken."""
    with listening(host, port) as listener:
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            build_app(settings, WallClock()),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
        )
        with _signals_end_quietly():
            _Announcing(config, f"http://{shown}:{bound}").run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A bound, listening socket; raises OSError.

    The protocol is named because asyncio switches Nagle's delay off only where it is: without,
    every reply of two writes waits 40 ms for the peer's acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """uvicorn raises the signal again after its shutdown; being told to stop is no failure."""

    def ignore(_signal: int, _frame: FrameType | None) -> None:
        return

    kept = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
