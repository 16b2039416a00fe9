"""How often a sign-in may fail: so many times a minute from one address, and from all together. Pure."""

from collections import OrderedDict, deque
from typing import Final

MINUTE_MS: Final = 60_000
_MOST_ADDRESSES: Final = 10_000


class Attempts:
    """Counts failures; a success is not counted and forgives nothing."""

    def __init__(self, each: int = 5, together: int = 60, per_ms: int = MINUTE_MS) -> None:
        self._each = each
        self._together = together
        self._per_ms = per_ms
        self._failed: OrderedDict[str, deque[int]] = OrderedDict()
        self._all: deque[int] = deque(maxlen=together)

    def wait_ms(self, address: str, now_ms: int) -> int:
        """How long nobody may try from there; 0 when one may now."""
        mine = self._failed.get(address, deque())
        return max(
            self._until(mine, self._each, now_ms), self._until(self._all, self._together, now_ms)
        )

    def failed(self, address: str, now_ms: int) -> None:
        """A try from there was wrong."""
        mine = self._failed.setdefault(address, deque(maxlen=self._each))
        self._failed.move_to_end(address)
        mine.append(now_ms)
        self._all.append(now_ms)
        if len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)

    def _until(self, failures: deque[int], most: int, now_ms: int) -> int:
        """A clock that was set back must not lock anybody out for longer than the span."""
        if len(failures) < most:
            return 0
        return min(max(failures[0] + self._per_ms - now_ms, 0), self._per_ms)
