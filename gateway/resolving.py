"""The addresses of one upstream: asked for again from time to time, tried in turn.

One that did not answer is tried last for a while. What cannot be asked for again stays as it was.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import anyio

log = logging.getLogger("tallygate.gateway")

_PAUSE_S: Final = 1.0  # between two lookups, however much fails
_MOST: Final = 64  # addresses of one name


class Address(NamedTuple):
    """Where a socket connects to."""

    family: int
    sockaddr: Any  # as the socket module has it for the family


Resolve = Callable[[str, int], Awaitable[list[Address]]]


async def system_resolve(host: str, port: int) -> list[Address]:
    """What the system knows of a name, best first (RFC 6724). Raises OSError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a name that cannot be one
        raise OSError(f"{host!r} is no name of a host") from error
    return list(dict.fromkeys(Address(each[0], _with_scope(each[4])) for each in found))


def _with_scope(sockaddr: tuple[Any, ...]) -> tuple[Any, ...]:
    """A link-local address with its interface in the host, which no event loop leaves out."""
    if len(sockaddr) == 4 and sockaddr[3]:
        return (f"{sockaddr[0]}%{sockaddr[3]}", sockaddr[1])
    return sockaddr[:2]


class Addresses:
    """`changed` hears the addresses there are from now on."""

    def __init__(self, lookup: Callable[[], Awaitable[list[Address]]], ttl_s: float) -> None:
        self.changed: Callable[[frozenset[Address]], None] = _nobody_asked
        self._lookup = lookup
        self._ttl_s = ttl_s
        self._known: list[Address] = []
        self._slow: dict[Address, float] = {}  # until when each is tried last
        self._turns = itertools.count()
        self._asked_s = 0.0
        self._next_s = 0.0
        self._asking = anyio.Lock()
        self._told = ""

    async def in_turn(self) -> list[Address]:
        """All of them, another one first each time. Waits only the first time; raises OSError."""
        if not self._known:
            async with self._asking:
                if not self._known:
                    await self._ask()
        turn = next(self._turns) % len(self._known)
        now_s = anyio.current_time()
        turned = self._known[turn:] + self._known[:turn]
        return sorted(turned, key=lambda address: self._slow.get(address, 0.0) > now_s)

    def failed(self, address: Address) -> None:
        """It did not take a connection, or not soon."""
        self._slow[address] = anyio.current_time() + self._ttl_s
        self._next_s = min(self._next_s, self._asked_s + _PAUSE_S)

    def due(self, now_s: float) -> bool:
        """Whether it is time to ask again."""
        return bool(self._known) and now_s >= self._next_s and not self._asking.locked()

    async def refresh(self) -> None:
        """Ask again; never raises."""
        async with self._asking:
            try:
                await self._ask()
            except Exception as error:  # noqa: BLE001 - it would end every loop of the worker
                self._say(str(error))
                self._next_s = self._asked_s + _PAUSE_S
            else:
                self._told = ""

    async def _ask(self) -> None:
        self._asked_s = anyio.current_time()
        found = (await self._lookup())[:_MOST]
        if not found:
            raise OSError("the name has no address")
        self._next_s = self._asked_s + self._ttl_s
        if set(found) != set(self._known):
            self._slow = {each: until for each, until in self._slow.items() if each in found}
            self._known = found
            self.changed(frozenset(found))

    def _say(self, reason: str) -> None:
        if reason != self._told:
            log.warning("an upstream's addresses cannot be asked for again: %s", reason)
        self._told = reason


def _nobody_asked(_: frozenset[Address]) -> None:
    pass
