"""Counts records: the journal first, Redis by itself a moment later.

Redis costs a call nothing: its flush is a task of its own, what goes wrong there is counted and
tried again behind a circuit breaker, and the journal keeps every record meanwhile.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import anyio

from gateway.errors import NotCounted
from metering.applying import Applier
from metering.board import Open
from metering.breaker import Breaker
from metering.clock import Clock
from metering.counters import Counters
from metering.errors import JournalFull
from metering.lane_protocol import Lane
from metering.usage import Account, UsageRecord

_ASKED: Final = 8  # partitions, so that more than one node is


class Recorder:
    """Owns the lane of this process and brings it to Redis. Belongs to one event loop."""

    def __init__(
        self,
        lane: Lane,
        counters: Counters,
        clock: Clock,
        partitions: int,
        *,
        deny_without_store: bool = False,
    ) -> None:
        self._lane = lane
        self._clock = clock
        self._deny_without_store = deny_without_store
        self.waits = lane.waits
        self.applier = Applier(lane.lane_id, lane.tail, counters, partitions)
        self.breaker = Breaker()
        self.applied_ms = clock.now_ms()  # every record before it is in Redis

    def begin(self, request: Open) -> int:
        """Note a request before it goes upstream; its slot.

        Raises NotCounted when its record could not be kept, or where the policy is not to serve
        while Redis is away.
        """
        account = Account(request.customer_id, request.route)
        return self.enter(request.request_id, account, request.started)

    def enter(self, request_id: str, account: Account, started_ms: int) -> int:
        """The same of a request whose account is at hand."""
        if self._deny_without_store and self.breaker.open:
            raise NotCounted
        try:
            return self._lane.enter(request_id, account, started_ms)
        except JournalFull:
            raise NotCounted from None

    def forget(self, slot: int) -> None:
        """The request ended without a record."""
        self._lane.forget(slot)

    def record(self, record: UsageRecord, slot: int | None = None) -> int:
        """Write the record to the journal; its number. From here on it will be counted.

        Raises JournalFull.
        """
        return self._lane.append(record, slot)

    def when_durable(self, then: Callable[[], None]) -> bool:
        """Call `then` soon when what was recorded survives a power cut; False: no need to wait."""
        return self._lane.when_durable(_from_thread(asyncio.get_running_loop(), then))

    async def durable(self) -> None:
        """Return when what was recorded survives a power cut, as far as the policy wants it."""
        done = asyncio.get_running_loop().create_future()
        if self.when_durable(partial(_finish, done)):
            await done

    async def flush(self, now_s: float, *, probe: bool = False) -> int | None:
        """Send everything. The time before which all records are applied, or None if some are not.

        `now_s` is in seconds, on the event loop's clock; `probe` see Applier.flush.
        """
        if not self.breaker.allows(now_s):
            return None
        through = self._lane.mark(self._clock.now_ms())
        applier, begun_s = self.applier, anyio.current_time()
        failures, batches = applier.failures, applier.batches
        done = await applier.flush(probe=probe)
        if applier.batches == batches and self._unsure(applier.failures != failures):
            await applier.ask_next(_ASKED)
        if applier.batches != batches:
            self.breaker.succeeded()  # also where a part of a cluster is away
        elif applier.failures != failures:
            self.breaker.failed(now_s + anyio.current_time() - begun_s, applier.failure)
        if not done:
            return None
        self.applied_ms = through
        return through

    def _unsure(self, failed: bool) -> bool:
        """Whether others must be asked if Redis is there: nothing was sent that would tell, or
        what failed was only a part of a cluster."""
        return self.applier.node_away if failed else self.breaker.open


def _from_thread(loop: asyncio.AbstractEventLoop, told: Callable[[], None]) -> Callable[[], None]:
    def then() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(told)

    return then


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
