"""Figures that cost a look at the ledger: looked up again only when they are a few seconds old."""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from metering.clock import Clock

FRESH_MS: Final = 5000
SLOW_MS: Final = 30_000  # of what changes slowly

T = TypeVar("T")


class Fresh(Generic[T]):
    """What `look(now_ms)` gave last. Asked from threads; one looks, the others wait for it."""

    def __init__(self, look: Callable[[int], T], clock: Clock, fresh_ms: int = FRESH_MS) -> None:
        self._look = look
        self._clock = clock
        self._fresh_ms = fresh_ms
        self._lock = threading.Lock()
        self._found: tuple[int, T] | None = None

    def now(self) -> T:
        """The figures. Raises what `look` raises; then the next one looks again."""
        with self._lock:
            now_ms = self._clock.now_ms()
            if self._found is None or not 0 <= now_ms - self._found[0] < self._fresh_ms:
                self._found = (now_ms, self._look(now_ms))
            return self._found[1]
