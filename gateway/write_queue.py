"""What is to be written, kept until the events at hand are dealt with; then all of it goes out.

A write wakes who waits for it, which costs the writer more than all else a write does. Of many in a
row nearly all find their reader awake, and the kernel's code in the cache.

Whoever closes a connection, or writes to it by another way, flushes first.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger("tallygate.gateway")

_LARGE: Final = 16 << 10  # goes out at once: then its writer hears at once that it is too much
_MANY: Final = 256  # with that, at most 4 MiB wait


class Outlet(Protocol):
    """One side of a connection. Writing after its end is harmless."""

    def write(self, data: bytes, /) -> None: ...


def _soon(flush: Callable[[], None]) -> object:
    """After the events that have come already, and before the next are waited for."""
    return asyncio.get_running_loop().call_soon(flush)


class WriteQueue:
    """Of one event loop. Keeps the order in which things were put."""

    def __init__(self, soon: Callable[[Callable[[], None]], object] = _soon) -> None:
        """`soon` calls its argument a little later."""
        self._soon = soon
        self._waiting: deque[tuple[Outlet, bytes]] = deque()

    def put(self, outlet: Outlet, data: bytes) -> None:
        """Write it soon."""
        waiting = self._waiting
        if not waiting:
            self._soon(self.flush)
        waiting.append((outlet, data))
        if len(data) > _LARGE or len(waiting) >= _MANY:
            self.flush()

    def flush(self) -> None:
        """Write it now. May be called by what is written to."""
        waiting = self._waiting
        while waiting:
            outlet, data = waiting.popleft()
            try:
                outlet.write(data)
            except Exception:
                log.exception("writing failed")
