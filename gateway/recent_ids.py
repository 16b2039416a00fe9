"""The request ids that were counted in the last ten minutes, within bounded memory. Pure.

A slice of time is a set of fingerprints that is dropped whole. They are Python's own hashes of text:
64 bits under a key that each process draws anew, so that nobody can choose two that are alike.
"""

from collections import deque
from typing import Final

WINDOW_MS: Final = 600_000
SLICES: Final = 10
MOST: Final = 1 << 18  # ids: about 25 MB


class RecentIds:
    """Of one worker. An id is remembered for `WINDOW_MS`, and up to a tenth longer."""

    def __init__(self, most: int = MOST) -> None:
        self._in_slice = max(1, most // (SLICES + 1))
        self._slices: deque[tuple[int, set[int]]] = deque()  # by the time of their first id
        self._most_slices = SLICES + 1
        self.repeats = 0
        self.forgotten = 0  # dropped before their time, for want of room

    def __len__(self) -> int:
        return sum(len(ids) for _, ids in self._slices)

    def comes_again(self, request_id: str, now_ms: int) -> bool:
        """Remember the id of a call that is counted now; whether one was with this id before."""
        self._drop_old(now_ms)
        fingerprint = hash(request_id)
        again = any(fingerprint in ids for _, ids in self._slices)
        self.repeats += again
        self._remember(fingerprint, now_ms)
        return again

    def _remember(self, fingerprint: int, now_ms: int) -> None:
        slices = self._slices
        if (
            not slices
            or now_ms - slices[-1][0] >= WINDOW_MS // SLICES
            or len(slices[-1][1]) >= self._in_slice
        ):
            slices.append((now_ms, set()))
            if len(slices) > self._most_slices:
                self.forgotten += len(slices.popleft()[1])
        slices[-1][1].add(fingerprint)

    def _drop_old(self, now_ms: int) -> None:
        """Slices whose last id is too old."""
        slices = self._slices
        while slices and now_ms - slices[0][0] > WINDOW_MS + WINDOW_MS // SLICES:
            slices.popleft()
