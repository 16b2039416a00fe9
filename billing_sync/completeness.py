"""Until when the ledger can have everything: what lanes said they brought."""

from collections.abc import Mapping

from metering.heartbeats import Heartbeat
from metering.windows import HOUR_MS


def flushed_through(lanes: Mapping[str, Heartbeat], *, now_ms: int, grace_ms: int) -> int | None:
    """Until when living lanes have brought everything to Redis; None without any. Pure."""
    alive = [beat.flushed_through for beat in lanes.values() if now_ms - beat.at <= grace_ms]
    return min(alive, default=None)


def complete_through(
    lanes: Mapping[str, Heartbeat], *, now_ms: int, grace_ms: int, reset_ms: int = 0
) -> int:
    """The end of the last window whose usage is complete. Pure.

    Lanes silent for longer than the grace are no longer waited for; without lanes the grace itself
    decides. `reset_ms` is when Redis last lost something: until every lane has flushed after that,
    or the grace is over, what it lost is still on its way, and no window is complete (0). A reset
    that lies ahead by more was noted by a clock that has been set right since.
    """
    flushed = flushed_through(lanes, now_ms=now_ms, grace_ms=grace_ms)
    complete = now_ms - grace_ms if flushed is None else flushed
    if complete < reset_ms and abs(now_ms - reset_ms) <= grace_ms:
        return 0
    return min(complete, now_ms) // HOUR_MS * HOUR_MS
