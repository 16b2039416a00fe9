"""One sync run, in its numbered order, and the loops that repeat it.

1. read the lanes' heartbeats       first: what is flushed before T is in Redis by now
2. drain every partition            so what was in Redis is in the ledger
3. close the windows that end <= T  their usage is complete
4. cut what released instances used
5. push what is due
Any step may fail; the next run begins again at 1 and every step finds what is left to do. Pushing
has a loop of its own, because a marketplace that does not answer must not hold 1 to 4 up.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio import to_thread
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync import closing
from billing_sync.closing import Made
from billing_sync.drain import Drainer
from billing_sync.outbox import Outbox
from billing_sync.repeating import Repeater, Wake
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from billing_sync.store.records import partitions_with_released
from metering import heartbeats
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.heartbeats import Heartbeat
from metering.windows import HOUR_MS

# How long after a release came in the last interval is cut: gateways hear of it within a second
# and flush within another.
SETTLE_MS: Final = 3000
# Usage that comes in longer after a release waits for the end of the hour it is booked in.
_RECENT_MS: Final = 2 * HOUR_MS
_OTHERS_PUSH_S: Final = 10.0
_OPEN_HOUR_TRIES: Final = 3


def complete_through(
    lanes: Mapping[str, Heartbeat], *, now_ms: int, grace_ms: int, reset_ms: int = 0
) -> int:
    """The end of the last window whose usage is complete. Pure.

    Lanes silent for longer than the grace are no longer waited for; without lanes the grace itself
    decides. `reset_ms` is when Redis last lost something: until every lane has flushed after that,
    or the grace is over, what it lost is still on its way, and no window is complete (0).
    """
    alive = [beat.flushed_through for beat in lanes.values() if now_ms - beat.at <= grace_ms]
    complete = min(alive, default=now_ms - grace_ms)
    if complete < reset_ms and now_ms - reset_ms <= grace_ms:
        return 0
    return min(complete, now_ms) // HOUR_MS * HOUR_MS


@dataclass
class Runner:
    """Everything a sync run needs."""

    engine: Engine
    redis: Redis = field(repr=False)
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
    left: dict[int, int] = field(default_factory=dict)  # by partition, at its last close
    repeater: Repeater = field(default_factory=Repeater)

    def __post_init__(self) -> None:
        self._made = Wake()

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """How often a loop failed, by its name and the reason."""
        return self.repeater.failures

    async def run_once(self, *, close_now: bool = False) -> None:
        """One whole run. `close_now` also records the open window up to this second.

        Raises MeteringError or SQLAlchemyError when a store is away.
        """
        await self.sync(close_now=close_now)
        await self.outbox.push_due()
        await self.outbox.others_done(_OTHERS_PUSH_S)

    async def run_forever(self, every_s: float, chores: Callable[[], Awaitable[None]]) -> None:
        """Sync, push and do chores again and again, none waiting for another. Never returns."""
        async with anyio.create_task_group() as group:
            forever = self.repeater.forever
            group.start_soon(forever, "sync", self.sync, every_s, Wake())
            group.start_soon(forever, "push", self.outbox.push_due, every_s, self._made)
            group.start_soon(forever, "chores", chores, every_s, Wake())

    async def sync(self, *, close_now: bool = False) -> None:
        """Steps 1 to 4. Raises MeteringError or SQLAlchemyError when a store is away."""
        made = self.records_made
        lanes = await heartbeats.read(self.redis)
        drained = await self.drainer.drain_all(self.partitions)
        now_ms = self.clock.now_ms()
        self.silent_lanes = sum(now_ms - beat.at > self.grace_ms for beat in lanes.values())
        await self._close(self._complete_through(lanes, now_ms), drained)
        if close_now:
            await self._cut_open_hour()
        await self._cut(await self._partitions_with_released(now_ms), released_only=True)
        self.runs += 1
        if self.records_made > made:
            self._made.set()

    def _complete_through(self, lanes: Mapping[str, Heartbeat], now_ms: int) -> int:
        return complete_through(
            lanes,
            now_ms=now_ms,
            grace_ms=self.grace_ms,
            reset_ms=self.drainer.last_reset_ms,
        )

    async def _close(self, through: int, drained: set[int]) -> None:
        """Only partitions that were drained since the heartbeats were read: the others would miss
        what is still in Redis."""
        stood = await to_thread.run_sync(self._closed_through)
        for partition in sorted(drained):
            if stood[partition] < through:
                made = await to_thread.run_sync(self._close_one, partition, through)
                if made is not None:
                    self.records_made += made.records
                    self.left[partition] = made.left
                stood[partition] = through
        self.closed_through = min(stood.values(), default=0)

    def _close_one(self, partition: int, through: int) -> Made | None:
        return closing.close(
            self.engine,
            partition,
            through_ms=through,
            catalogue=self.catalogue,
            now_ms=self.clock.now_ms(),
        )

    async def _cut_open_hour(self) -> None:
        """Usage of the last second or two has no interval yet: it gets the time to have one."""
        for _ in range(_OPEN_HOUR_TRIES):
            if not await self._cut(range(self.partitions), released_only=False):
                return
            await anyio.sleep(1)

    async def _cut(self, partitions: Iterable[int], *, released_only: bool) -> int:
        """Record up to now; how much (see Made) is left over."""
        left = 0
        for partition in partitions:
            made = await to_thread.run_sync(self._cut_one, partition, released_only)
            self.records_made += made.records
            left += made.left
        return left

    def _cut_one(self, partition: int, released_only: bool) -> Made:
        return closing.cut(
            self.engine,
            partition,
            catalogue=self.catalogue,
            now_ms=self.clock.now_ms(),
            released_only=released_only,
        )

    def _closed_through(self) -> dict[int, int]:
        with reading(self.engine) as session:
            return ledger.closed_through(session)

    async def _partitions_with_released(self, now_ms: int) -> set[int]:
        return await to_thread.run_sync(self._find_released, now_ms - SETTLE_MS)

    def _find_released(self, until_ms: int) -> set[int]:
        with reading(self.engine) as session:
            return partitions_with_released(
                session, since_ms=until_ms - _RECENT_MS, until_ms=until_ms
            )
