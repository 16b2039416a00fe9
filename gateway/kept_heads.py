"""The heads that are kept: those that came a second time, up to a bound in bytes."""

from typing import Final

from gateway.known_request import KnownRequest

MAX_BYTES: Final = 24 << 20  # of all heads that are kept
MAX_HEAD: Final = 4096  # longer ones are not kept
_SEEN: Final = 16_384
_OVERHEAD: Final = 640  # of the objects around the bytes of one head
_ONE_IN: Final = 7  # heads that come again, where another has to go for it


class KeptHeads(dict[bytes, KnownRequest]):
    """By what their heads have in common with others. `bytes` is what they take, at most."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self.bytes = 0
        self._max_bytes = max_bytes
        self._seen: set[int] = set()
        self._turn = 0

    def keep(self, key: bytes, known: KnownRequest) -> None:
        """Keep it, if it was seen before and there is room."""
        if len(key) > MAX_HEAD or known.request_id or key in self:
            return  # a request id of its own makes each head another one
        seen = hash(key)
        if seen not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(seen)
            return
        cost = _cost(key, known)
        if self.bytes + cost > self._max_bytes:
            # More heads in turn than there is room for: if each made room for the next, none would
            # ever be found again.
            self._turn = (self._turn + 1) % _ONE_IN
            if self._turn:
                return
        self._seen.discard(seen)
        self[key] = known
        self.bytes += cost
        while self.bytes > self._max_bytes:
            self.forget(next(iter(self)))

    def forget(self, key: bytes) -> None:
        """It is wanted no more."""
        self.bytes -= _cost(key, self.pop(key))

    def clear(self) -> None:
        """Forget all of them, also those that were seen."""
        super().clear()
        self.bytes = 0
        self._seen.clear()


def _cost(key: bytes, known: KnownRequest) -> int:
    # More than it is: what stands before the request's id is mostly one object for all heads.
    return len(key) + _OVERHEAD + sum(len(b"".join(each)) for each in known.asked)
