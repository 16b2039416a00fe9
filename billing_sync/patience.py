"""Decides which of the things that wait are asked for now, ever more rarely. Pure."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_FIRST_WAIT_MS: Final = 5_000
_LAST_WAIT_MS: Final = 600_000


def retry_wait_ms(attempts: int) -> int:
    """How long to leave a waiting order alone: 5 s, 10 s, 20 s … at most ten minutes."""
    return min(_FIRST_WAIT_MS << min(attempts, 16), _LAST_WAIT_MS)


@dataclass
class Patience(Generic[K]):
    """How often each was asked for, and when it is next; what no longer waits is forgotten."""

    _attempts: dict[K, tuple[int, int]] = field(default_factory=dict)

    def due(self, waiting: Mapping[K, V], now_ms: int, most: int) -> list[V]:
        """At most so many of those that are due, which thereby count as asked for."""
        self._attempts = {key: self._attempts[key] for key in waiting if key in self._attempts}
        due = [key for key in waiting if self._attempts.get(key, (0, 0))[1] <= now_ms][:most]
        for key in due:
            attempts = self._attempts.get(key, (0, 0))[0]
            self._attempts[key] = (attempts + 1, now_ms + retry_wait_ms(attempts))
        return [waiting[key] for key in due]
