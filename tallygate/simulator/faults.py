"""Faults to order: pushes, order queries or uploads of licences go wrong in a named way, reproducibly.

A call meets the first of: an outage on the simulated clock, a limit per second, the queue of
faults so many times each, chance with a seed.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from .errors import BadRequest
from .fault_sources import (
    SIDES,
    Chance,
    Fault,
    Limit,
    Outage,
    read_chance,
    read_fault,
    read_limit,
    read_outage,
)
from .wire import objects, only

MAX_LISTED: Final = 100


class Faults:
    """What goes wrong, by side: `push`, `order_query` and `license`."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = {side: deque() for side in SIDES}
        self._outages: list[Outage] = []
        self._limits: dict[str, Limit] = {}
        self._chances: dict[str, Chance] = {}

    def set(self, request: Mapping[str, object]) -> None:
        """Replaces what is named; raises BadRequest before anything changes.

        `push`, `order_query`, `license`: lists of faults. `outages`: a list of {side, from_ms, to_ms}.
        `limit`: {side: {per_second, retry_after}}. `random`: {side: {seed, and a share by kind}}.
        """
        only(request, *SIDES, "outages", "limit", "random")
        queues = {side: deque(_queue(side, request)) for side in SIDES if side in request}
        outages = [read_outage(item) for item in objects(request, "outages", MAX_LISTED)]
        limits = {side: read_limit(item) for side, item in _by_side(request, "limit").items()}
        chances = {
            side: read_chance(side, item) for side, item in _by_side(request, "random").items()
        }
        self._waiting |= queues
        self._outages = outages if "outages" in request else self._outages
        self._limits = limits if "limit" in request else self._limits
        self._chances = chances if "random" in request else self._chances

    def next(self, side: str, now_ms: int) -> Fault | None:
        """The fault of this call, if one is due."""
        if any(outage.holds(side, now_ms) for outage in self._outages):
            return Fault("unreachable")
        limit = self._limits.get(side)
        if limit is not None and (refused := limit.next(now_ms)):
            return refused
        if self._waiting[side]:
            return self._from_queue(self._waiting[side])
        chance = self._chances.get(side)
        return None if chance is None else chance.next()

    def as_json(self) -> dict[str, object]:
        return {
            **{side: [fault.as_json() for fault in self._waiting[side]] for side in SIDES},
            "outages": [outage.as_json() for outage in self._outages],
            "limit": {side: limit.as_json() for side, limit in self._limits.items()},
            "random": {side: chance.as_json() for side, chance in self._chances.items()},
        }

    def _from_queue(self, waiting: deque[Fault]) -> Fault:
        fault = waiting[0]
        fault.times -= 1
        if not fault.times:
            waiting.popleft()
        return fault


def _queue(side: str, request: Mapping[str, object]) -> list[Fault]:
    return [read_fault(side, item) for item in objects(request, side, MAX_LISTED)]


def _by_side(request: Mapping[str, object], name: str) -> Mapping[str, Mapping[str, object]]:
    found = request.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise BadRequest(f"{name} must be an object with one object by side")
    only(found, *SIDES)
    return found
