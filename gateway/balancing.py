"""Which of a route's upstreams gets a call: the one with the fewest, among those that answer.

Health is passive: an upstream that failed several times in a row is ejected, for longer each time,
and must take a connection before it gets calls again. The last healthy one is never ejected.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway.pool import Pool
from gateway.settings import HealthSettings

log = logging.getLogger("tallygate.gateway")

_JITTER: Final = 0.25  # of an ejection, so that workers do not all come back at once
_DOUBLINGS: Final = 16  # the longest ejection is reached long before
_SOON_S: Final = 1.0  # when nobody is well, the ejected are asked so often


@dataclass(slots=True)
class Condition:
    """How one upstream is doing. Times are the event loop's, in seconds."""

    failures: int = 0  # in a row
    ejections: int = 0  # in a row
    ejected: bool = False
    until_s: float = 0.0  # of the ejection, or how long after one it counts as a repetition
    probing: bool = False


@dataclass(slots=True)
class Balancer:
    """`pools` are in the order of the route's upstreams, each in once. `random` is in [0, 1)."""

    pools: Sequence[Pool]
    health: HealthSettings
    random: Callable[[], float]
    now: Callable[[], float]
    retries: int = 0
    ejections: int = 0
    conditions: dict[Pool, Condition] = field(init=False)
    _healthy: list[Pool] = field(init=False)
    _turn: int = 0
    _troubled: bool = False  # somebody failed since all were well

    def __post_init__(self) -> None:
        self.conditions = {pool: Condition() for pool in self.pools}
        self._healthy = list(self.pools)

    @property
    def healthy(self) -> int:
        """How many upstreams get calls."""
        return len(self._healthy)

    def pick(self, tried: Collection[Pool] = ()) -> Pool:
        """Where the next attempt of a call should go; `tried` are its earlier ones.

        One that was tried is picked again only when no other is healthy.
        """
        healthy = self._healthy
        if not tried and len(healthy) == 1:
            return healthy[0]
        if tried:
            self.retries += 1
            healthy = [pool for pool in healthy if pool not in tried] or healthy
        if len(healthy) == 1:
            return healthy[0]
        self._turn += 1
        turn = self._turn % len(healthy)
        return min(healthy[turn:] + healthy[:turn], key=_outstanding)

    def answered(self, pool: Pool, status: int) -> None:
        """A reply's head came from there."""
        if status >= 500 and status in self.health.statuses:
            self.failed(pool)
        else:
            self.succeeded(pool)

    def succeeded(self, pool: Pool) -> None:
        """A call went well there."""
        if self._troubled:
            self.conditions[pool].failures = 0
            self._troubled = any(each.failures for each in self.conditions.values())

    def failed(self, pool: Pool) -> None:
        """A call failed there before a reply's head: no connection, timed out, cut.

        A used connection that turned out to be closed already is no failure.
        """
        condition = self.conditions[pool]
        self._troubled = True
        condition.failures += 1
        if condition.ejected or condition.failures < self.health.failures:
            return
        if len(self._healthy) > 1:
            self._eject(pool, condition)
        else:
            self._hasten()

    def sweep(self, now_s: float) -> None:
        """Probe those whose ejection is over."""
        if len(self.pools) == 1:
            return
        for pool, condition in self.conditions.items():
            if condition.until_s > now_s:
                continue
            if not condition.ejected:
                condition.ejections = 0
            elif not condition.probing:
                condition.probing = True
                pool.probe(partial(self._heard, pool, condition))

    def _heard(self, pool: Pool, condition: Condition, well: bool) -> None:
        condition.probing = False
        if not well:
            self._prolong(condition)
            return
        condition.ejected = False
        condition.failures = 0
        condition.until_s = self.now() + self._duration(condition)
        self._healthy.append(pool)
        log.warning("%s gets calls again", pool.origin)

    def _eject(self, pool: Pool, condition: Condition) -> None:
        condition.ejected = True
        self._healthy.remove(pool)
        self.ejections += 1
        self._prolong(condition)
        log.warning(
            "%s failed %d times in a row and gets no calls", pool.origin, condition.failures
        )

    def _prolong(self, condition: Condition) -> None:
        condition.ejections += 1
        condition.until_s = self.now() + self._duration(condition)

    def _duration(self, condition: Condition) -> float:
        grown = self.health.eject * (1 << min(condition.ejections - 1, _DOUBLINGS))
        return min(grown, self.health.max_eject) * (1 + _JITTER * self.random())

    def _hasten(self) -> None:
        """The last one fails too: perhaps another is back."""
        soon_s = self.now() + _SOON_S
        for condition in self.conditions.values():
            if condition.ejected:
                condition.until_s = min(condition.until_s, soon_s)


def _outstanding(pool: Pool) -> int:
    return pool.outstanding
