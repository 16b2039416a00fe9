"""When to ask a Redis that fails, and when to leave it alone. Pure: the time is given.

closed     every call is allowed
open       none is, until the pause is over
half-open  one call, the probe: it closes the breaker, or starts a pause twice as long
"""

from typing import Final

FAILURES: Final = 3  # in a row: one lost reply is no outage
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 4.0


class Breaker:
    """`now_s` is any clock that never goes back. `failures` counts by kind, also those unseen."""

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self._in_a_row = 0
        self._pause_s = 0.0
        self._next_probe_s = 0.0

    @property
    def open(self) -> bool:
        """Does Redis count as down? From the failures that open it until a call succeeds."""
        return self._pause_s > 0

    def allows(self, now_s: float) -> bool:
        """May a call be made now? While open, the one that is allowed is the probe.

        A probe whose outcome is never told, for it was cancelled, is followed by another one.
        """
        if not self.open:
            return True
        if now_s < self._next_probe_s:
            return False
        self._next_probe_s = now_s + LONGEST_PAUSE_S
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self._in_a_row = 0
        self._pause_s = 0.0

    def failed(self, now_s: float, kind: str) -> None:
        """A call was not; `kind` is what the failure is counted under."""
        self.failures[kind] = self.failures.get(kind, 0) + 1
        self._in_a_row += 1
        if self.open:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        elif self._in_a_row >= FAILURES:
            self._pause_s = FIRST_PAUSE_S
        self._next_probe_s = now_s + self._pause_s
