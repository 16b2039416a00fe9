"""When a WebSocket session must end by itself, and when its stretch must be recorded. Pure.

All times are seconds of one clock that never steps. A ping is no sign of life: it says that a
machine is there, not that anybody wants anything.
"""

import math

from gateway.settings import WebSocketSettings
from gateway.websocket_ends import IDLE, STOPPED, TOO_LONG, Ending


class Deadlines:
    """Of one session; `idle`: seconds without any message."""

    def __init__(self, idle: float, settings: WebSocketSettings) -> None:
        self._idle = idle
        self._every = settings.record_every
        self._lasts = settings.max_duration or math.inf
        self._touched_s = self._last_s = self._stretch_s = math.inf
        self.stopping = False

    def start(self, now_s: float) -> None:
        """The session is open."""
        self._touched_s = now_s
        self._last_s = now_s + self._lasts
        self.record(now_s)

    def touch(self, now_s: float) -> None:
        """A message came or went."""
        self._touched_s = now_s

    def record(self, now_s: float) -> None:
        """A stretch begins."""
        self._stretch_s = now_s + self._every

    def stop(self, now_s: float, *, quiet: float, within: float) -> None:
        """The worker stops: end in the next pause of `quiet` seconds, or after `within`."""
        self.stopping = True
        self._idle = min(self._idle, quiet)
        self._last_s = min(self._last_s, now_s + within)

    @property
    def next_s(self) -> float:
        """When to look again."""
        return min(self._touched_s + self._idle, self._last_s, self._stretch_s)

    def over(self, now_s: float) -> Ending | None:
        """How the session must end now, if it must."""
        late, idle = now_s >= self._last_s, now_s >= self._touched_s + self._idle
        if not late and not idle:
            return None
        if self.stopping:
            return STOPPED
        return TOO_LONG if late else IDLE

    def stretch_over(self, now_s: float) -> bool:
        """Whether the present stretch is to be recorded."""
        return now_s >= self._stretch_s
