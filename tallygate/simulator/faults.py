"""Faults to order: the next pushes or order queries go wrong in a named way, so many times."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .errors import BadRequest
from .wire import objects, only, text, whole

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "push": frozenset({"http_500", "timeout_after_accept", "throttle", "mkt_0999"}),
    "order_query": frozenset({"http_500", "slow", "throttle"}),
}
MAX_TIMES: Final = 100_000


@dataclass
class Fault:
    """`seconds` is how long a slow or hanging answer takes."""

    kind: str
    times: int
    seconds: float


class Faults:
    """Queues of faults by side, taken in the order they were given."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = {side: deque() for side in KINDS}

    def set(self, request: Mapping[str, object]) -> None:
        """Replaces the queue of each side named; raises BadRequest before anything changes."""
        only(request, *KINDS)
        read = {side: deque(_read(side, request)) for side in request}
        self._waiting |= read

    def next(self, side: str) -> Fault | None:
        """The fault of this call, if one is due."""
        waiting = self._waiting[side]
        if not waiting:
            return None
        fault = waiting[0]
        fault.times -= 1
        if not fault.times:
            waiting.popleft()
        return fault

    def as_json(self) -> dict[str, object]:
        return {
            side: [{"kind": fault.kind, "times": fault.times} for fault in waiting]
            for side, waiting in self._waiting.items()
        }


def _read(side: str, request: Mapping[str, object]) -> list[Fault]:
    faults = []
    for item in objects(request, side, 100):
        only(item, "kind", "times", "seconds")
        kind = text(item, "kind")
        if kind not in KINDS[side]:
            raise BadRequest(f"kind of {side} must be one of {', '.join(sorted(KINDS[side]))}")
        faults.append(Fault(kind, whole(item, "times", 1, (1, MAX_TIMES)), _seconds(item)))
    return faults


def _seconds(item: Mapping[str, object]) -> float:
    seconds = item.get("seconds", 30)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadRequest("seconds must be a number")
    if not 0 <= seconds <= 3600:
        raise BadRequest("seconds must be from 0 to 3600")
    return float(seconds)
