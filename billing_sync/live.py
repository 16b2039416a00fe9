"""The ledger and Redis at one instant, so that each use is seen once.

The reading rule: Redis first, then one SQL snapshot. A set-aside whose id SQL already has is left
out; one that follows SQL's last id is added; anything else moved in between and is read again, and
after three tries, or a second without an answer from Redis, the ledger answers alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.store import ledger
from billing_sync.store.engine import reading
from metering.clock import Clock
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringError
from metering.protocol import Content

_TRIES: Final = 3
REDIS_BUDGET_S: Final = 1.0

T = TypeVar("T")
Pair = tuple[Content | None, Content | None]


def pending_in_redis(pair: Pair, *, epoch: str, last: str) -> list[Content] | None:
    """Which of the two hashes the ledger does not hold yet; None when they do not fit it. Pure."""
    live, drain = pair
    if live is None or live.epoch != epoch:
        return None
    if drain is None:
        return [live] if live.last == last else None
    if drain.epoch != epoch or live.last != drain.id:
        return None
    if drain.id == last:
        return [live]
    return [live, drain] if drain.last == last else None


@dataclass(frozen=True, slots=True)
class Moment(Generic[T]):
    """What the ledger said and what Redis held besides. `live` is False when Redis is left out."""

    ledger: T
    pending: Sequence[Content]
    at_ms: int
    live: bool

    def deltas(self) -> Iterable[tuple[DeltaKey, int]]:
        """What must be added to the ledger's answer."""
        for content in self.pending:
            yield from content.deltas.items()


@dataclass
class Live:
    """Reads the ledger beside Redis. Never raises for a Redis that is away."""

    engine: Engine
    counters: Counters
    clock: Clock
    redis_budget_s: float = REDIS_BUDGET_S

    async def moment(self, partitions: Sequence[int], ask: Callable[[Session], T]) -> Moment[T]:
        """The answer of `ask`, and what these partitions hold in Redis besides."""
        deadline = anyio.current_time() + self.redis_budget_s
        for _ in range(_TRIES):
            now_ms = self.clock.now_ms()
            pairs = await self._read(partitions, deadline)
            if pairs is None:
                break
            said, pending = await to_thread.run_sync(self._beside, pairs, ask)
            if pending is not None:
                return Moment(said, pending, now_ms, live=True)
        said, _ = await to_thread.run_sync(self._beside, {}, ask)
        return Moment(said, [], self.clock.now_ms(), live=False)

    async def _read(self, partitions: Sequence[int], deadline: float) -> dict[int, Pair] | None:
        with anyio.CancelScope(deadline=deadline):
            try:
                return {number: await self.counters.read(number) for number in partitions}
            except (MeteringError, ValueError):  # away, or something else wrote there
                return None
        return None

    def _beside(
        self, pairs: Mapping[int, Pair], ask: Callable[[Session], T]
    ) -> tuple[T, list[Content] | None]:
        """The ledger's answer, and what must be added to it; None where Redis does not fit it."""
        with reading(self.engine) as session:
            places = ledger.places(session)
            said = ask(session)
        pending: list[Content] = []
        for number, pair in pairs.items():
            contents = pending_in_redis(pair, epoch=places[number].epoch, last=places[number].last)
            if contents is None:
                return said, None
            pending.extend(contents)
        return said, pending
