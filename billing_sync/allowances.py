"""How often each caller may ask: a token bucket for each, in bounded memory. Pure."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
_MOST_CALLERS: Final = 10_000


class Allowances(Generic[K]):
    """`burst` at once, and one more every `every_ms`."""

    def __init__(self, burst: int, every_ms: int) -> None:
        self._room_ms = burst * every_ms
        self._every_ms = every_ms
        self._until: dict[K, int] = {}  # when the caller's bucket is full again

    def take(self, caller: K, now_ms: int) -> int:
        """0 when he may; else in how many ms he may try again."""
        full = max(self._until.get(caller, 0), now_ms)
        wait = full + self._every_ms - now_ms - self._room_ms
        if wait > 0:
            return wait
        if caller not in self._until and len(self._until) >= _MOST_CALLERS:
            self._forget(now_ms)
        self._until[caller] = full + self._every_ms
        return 0

    def _forget(self, now_ms: int) -> None:
        """Whose buckets are full again; all, where too many are not."""
        kept = {caller: until for caller, until in self._until.items() if until > now_ms}
        self._until = kept if len(kept) < _MOST_CALLERS else {}
