"""One sync run, in its numbered order, and the loop that repeats it.

1. read the lanes' heartbeats       first: what is flushed before T is in Redis by now
2. drain every partition            so what was in Redis is in the ledger
3. close the windows that end <= T  their usage is complete
4. cut what released instances used
5. push what is due
Any step may fail; the next run begins again at 1 and every step finds what is left to do.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio
from anyio import to_thread
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing_sync import closing
from billing_sync.drain import Drainer
from billing_sync.outbox import Outbox
from billing_sync.store.engine import reading
from billing_sync.store.records import partitions_with_released
from metering import heartbeats
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.windows import HOUR_MS

log = logging.getLogger("tallygate.sync")

# How long after a release the last interval is cut: gateways hear of it within a second and flush
# within another.
SETTLE_MS = 3000


def complete_through(lanes: Mapping[str, Heartbeat], *, now_ms: int, grace_ms: int) -> int:
    """The end of the last window whose usage is complete. Pure.

    Lanes silent for longer than the grace are no longer waited for; without lanes the grace itself
    decides.
    """
    alive = [beat.flushed_through for beat in lanes.values() if now_ms - beat.at <= grace_ms]
    complete = min(alive, default=now_ms - grace_ms)
    return min(complete, now_ms) // HOUR_MS * HOUR_MS


@dataclass
class Runner:
    """Everything a sync run needs."""

    engine: Engine
    redis: Redis
    drainer: Drainer
    outbox: Outbox
    catalogue: Catalogue
    partitions: int
    grace_ms: int
    clock: Clock
    runs: int = 0
    records_made: int = 0
    closed_through: int = 0
    silent_lanes: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    async def run_once(self, *, close_now: bool = False) -> None:
        """One run. `close_now` also records the open window up to this second.

        Raises MeteringError or SQLAlchemyError when a store is away.
        """
        lanes = await heartbeats.read(self.redis)
        await self.drainer.drain_all(self.partitions)
        now_ms = self.clock.now_ms()
        through = complete_through(lanes, now_ms=now_ms, grace_ms=self.grace_ms)
        self.silent_lanes = sum(now_ms - beat.at > self.grace_ms for beat in lanes.values())
        if through > self.closed_through:
            await to_thread.run_sync(self._close, through, now_ms)
            self.closed_through = through
        if close_now:
            await to_thread.run_sync(self._cut, range(self.partitions), now_ms, False)
        await self._cut_released(now_ms)
        await self.outbox.push_due()
        self.runs += 1

    async def run_forever(self, every_s: float, chores: Callable[[], Awaitable[None]]) -> None:
        """Run again and again; a store that is away is tried again at the next turn."""
        while True:
            try:
                await chores()
                await self.run_once()
            except (MeteringError, SQLAlchemyError, OSError) as failure:
                name = type(failure).__name__
                if not self.failures.get(name):
                    log.warning("sync run failed, will be repeated: %s", failure)
                self.failures[name] = self.failures.get(name, 0) + 1
            await anyio.sleep(every_s)

    def _close(self, through: int, now_ms: int) -> None:
        for partition in range(self.partitions):
            self.records_made += closing.close(
                self.engine,
                partition,
                through_ms=through,
                catalogue=self.catalogue,
                now_ms=now_ms,
            )

    def _cut(self, partitions: range | set[int], now_ms: int, released_only: bool) -> None:
        for partition in partitions:
            self.records_made += closing.cut(
                self.engine,
                partition,
                catalogue=self.catalogue,
                now_ms=now_ms,
                released_only=released_only,
            )

    async def _cut_released(self, now_ms: int) -> None:
        partitions = await to_thread.run_sync(self._partitions_with_released, now_ms)
        if partitions:
            await to_thread.run_sync(self._cut, partitions, now_ms, True)

    def _partitions_with_released(self, now_ms: int) -> set[int]:
        with reading(self.engine) as session:
            return partitions_with_released(session, until_ms=now_ms - SETTLE_MS)
