"""The simulator's time: milliseconds since the Unix epoch, UTC, with an offset for time travel."""

import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the Unix epoch, UTC."""

    def now_ms(self) -> int: ...


class WallClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ShiftedClock:
    """Another clock plus `offset_ms`, so that a merchant tested hours ahead is judged in his time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.offset_ms

    def set(self, now_ms: int) -> None:
        """From now on it is `now_ms`, and time goes on from there."""
        self.offset_ms = now_ms - self._clock.now_ms()
