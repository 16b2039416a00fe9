"""The client's side of an exchange: its body, the news that it left, and what may follow then."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.types import Receive

from gateway.telemetry import Telemetry


class ClientLeft(Exception):
    """The client hung up: a signal inside the proxy, nobody is left to be answered."""


class Caller:
    """Reads what an ASGI server has of one client. `piece` and `watch` never run together."""

    def __init__(self, receive: Receive, *, has_body: bool) -> None:
        self._receive = receive
        self.body_over = not has_body

    async def piece(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether more is to come. Raises ClientLeft."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        self.body_over = not message.get("more_body", False)
        return message.get("body", b""), not self.body_over

    async def watch(self, on_left: Callable[[], None]) -> None:
        """Wait until the client leaves, and say so; body that still comes is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        on_left()


class Patience:
    """Whom an exchange waits for, and until when; its work runs inside `scope`."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.on_client = False  # whose turn it was when the time ran out
        self._last = math.inf

    def for_client(self, seconds: float) -> None:
        """The client has so long to take or send the next piece."""
        self.on_client = True
        self._expire_in(seconds)

    def for_upstream(self, seconds: float) -> None:
        """The upstream has so long."""
        self.on_client = False
        self._expire_in(seconds)

    def at_most(self, seconds: float) -> None:
        """From now on the whole rest has so long, whatever is asked for later."""
        self._last = anyio.current_time() + seconds
        self.scope.deadline = min(self.scope.deadline, self._last)

    def _expire_in(self, seconds: float) -> None:
        self.scope.deadline = min(anyio.current_time() + seconds, self._last)


@dataclass(frozen=True, slots=True)
class Drains:
    """How far replies are read on whose clients left, so that their usage is complete.

    Each for at most `seconds` and `max_bytes`, and `at_once` of them in a worker: an abandoned
    reply costs the merchant as much as any other, so reading on must not become a way to hurt it.
    """

    telemetry: Telemetry
    seconds: float = 30.0
    max_bytes: int = 16 * 1024 * 1024
    at_once: int = 64

    def enter(self) -> bool:
        """Whether one more may start; every True is followed by one `leave`."""
        if self.telemetry.drains_active >= self.at_once:
            return False
        self.telemetry.drains_active += 1
        return True

    def leave(self) -> None:
        """A drain is over."""
        self.telemetry.drains_active -= 1


class Departure:
    """Whether the client of an exchange left, and how far its reply is read on then."""

    def __init__(self, drains: Drains, patience: Patience) -> None:
        self._drains = drains
        self._patience = patience
        self._draining = False
        self._bytes = 0
        self.gone = False

    def happens(self, *, drain: bool) -> None:
        """The client is gone. Reads on if wanted and possible, else ends the work."""
        self.gone = True
        scope = self._patience.scope
        self._draining = drain and not scope.cancel_called and self._drains.enter()
        if self._draining:
            self._patience.at_most(self._drains.seconds)
            return
        self._drains.telemetry.drains_capped += drain
        scope.cancel()

    def spend(self, size: int) -> None:
        """A piece of the reply came for nobody. Raises ClientLeft when that was too much."""
        self._bytes += size
        if self._bytes > self._drains.max_bytes:
            self.capped()
            raise ClientLeft

    def capped(self) -> None:
        """A bound ended the reading on, so usage may be missing."""
        self._drains.telemetry.drains_capped += self._draining

    def over(self) -> None:
        """The exchange ends."""
        if self._draining:
            self._drains.leave()
