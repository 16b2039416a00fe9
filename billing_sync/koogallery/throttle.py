"""Keeps quiet towards an open API that was called too often, for as long as it asks or ever longer. Pure."""

from typing import Final

_FIRST_MS: Final = 1000
_LONGEST_MS: Final = 60_000


class Throttle:
    """1, 2, 4 … 60 seconds of silence after the first, second, third … refusal in a row."""

    def __init__(self) -> None:
        self._refusals = 0
        self._until_ms = 0

    def wait_ms(self, now_ms: int) -> int:
        """How long to be silent still; 0 when it may be called."""
        return max(0, self._until_ms - now_ms)

    def refused(self, now_ms: int, retry_after_s: float | None) -> None:
        """It was too often; the longer of what it asks for and what we do by ourselves.

        Several calls that were in flight together and are all refused count as one.
        """
        asked_ms = int((retry_after_s or 0) * 1000)
        if self.wait_ms(now_ms):
            self._until_ms = max(self._until_ms, now_ms + asked_ms)
            return
        own_ms = min(_FIRST_MS << min(self._refusals, 10), _LONGEST_MS)
        self._refusals += 1
        self._until_ms = now_ms + max(own_ms, asked_ms)

    def served(self) -> None:
        """It answered: the next refusal is a first one again."""
        self._refusals = 0
