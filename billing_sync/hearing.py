"""Which lanes may hold leases, by their heartbeats: whom a reset must wait for. Pure.

A heartbeat that changed since it was read last was heard now; its own time is another machine's. While
Redis is away nobody is heard, so what counts is when it was read last.
"""

from collections.abc import Mapping

from metering.lending import EVERYBODY, PACKAGE_LIFE_MS, Settling


class Heard:
    """The lanes heard for as long as a lease lives."""

    def __init__(self) -> None:
        self._beats: dict[str, object] = {}
        self._last: dict[str, int] = {}
        self._since = 0
        self._read = 0

    def note(self, lanes: Mapping[str, object], now_ms: int) -> None:
        """All heartbeats, as they are read now."""
        if not self._since or now_ms < self._read:  # a clock that was set back begins anew
            self._since, self._last = now_ms, {}
        self._read = now_ms
        for lane, beat in lanes.items():
            if self._beats.get(lane) != beat:
                self._last[lane] = now_ms
        self._beats = dict(lanes)
        self._last = {lane: at for lane, at in self._last.items() if now_ms - at <= PACKAGE_LIFE_MS}

    def settling(self) -> Settling:
        """Whom a partition waits for whose leases are forgotten: everybody, before enough was heard."""
        if not self._since or self._read - self._since < PACKAGE_LIFE_MS:
            return EVERYBODY
        return Settling(frozenset(self._last))
