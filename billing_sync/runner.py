"""One sync run, in its numbered order, and the loops that repeat it.

1. look whether the ledger was set back   if so, nothing is closed, cut or pushed
2. read the lanes' heartbeats             first: what is flushed before T is in Redis by now
3. drain every partition                  so what was in Redis is in the ledger
4. take findings into the ledger
5. close the windows that end <= T        their usage is complete
6. cut what released instances used, and upgraded ones before
7. let go of old history
8. push what is due, and send alerts
Any step may fail; the next run begins again at 1 and every step finds what is left to do. Where
only a part of Redis is away, the run does what can be done without it and fails at its end. Pushing
has a loop of its own, because a marketplace that does not answer must not hold the others up.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.alert_sending import AlertSender
from billing_sync.closing import SETTLE_MS, Closer, Made
from billing_sync.completeness import complete_through, flushed_through
from billing_sync.drain import Drainer
from billing_sync.halting import Halt
from billing_sync.importing import FindingImporter
from billing_sync.outbox import Outbox
from billing_sync.repeating import Repeater, Wake
from billing_sync.store import history, ledger, upgrades
from billing_sync.store.engine import reading, writing
from billing_sync.store.records import partitions_with_released
from metering import findings, heartbeats
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.connection import Store
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.windows import HOUR_MS

log = logging.getLogger("tallygate.sync")

# Usage that comes in longer after a release waits for the end of the hour it is booked in.
_RECENT_MS: Final = 2 * HOUR_MS
_OTHERS_PUSH_S: Final = 10.0
_PRUNE_MS: Final = 256_000  # in which each partition has its turn, with fewer drains than a batch
_OPEN_HOUR_TRIES: Final = 3


@dataclass
class Runner:
    """Everything a sync run needs."""

    engine: Engine
    redis: Store = field(repr=False)
    drainer: Drainer
    outbox: Outbox
    catalogue: Catalogue
    partitions: int
    grace_ms: int
    clock: Clock
    zone: tzinfo = UTC  # of the days by which products are billed
    runs: int = 0
    records_made: int = 0
    closed_through: int = 0
    booked_through: int = 0  # UTC ms: everything that ended before is in the ledger
    silent: frozenset[str] = frozenset()  # lanes that no window waits for any more
    left: dict[int, int] = field(default_factory=dict)  # by partition, at its last close
    repeater: Repeater = field(default_factory=Repeater)
    sender: AlertSender | None = None

    def __post_init__(self) -> None:
        self._made = Wake()
        self.halt = Halt(self.engine, self.outbox.log, self.clock)
        self.importer = FindingImporter(self.engine, self.redis)
        self._closer = Closer(self.engine, self.catalogue, self.zone, alerts=self.drainer.alerts)
        self._asked_again = False  # for the findings that a ledger that was set back lacks
        self._pruned = 0  # the partition whose history was looked at last
        self._pruned_ms = 0
        self._failure: Exception | None = None  # the first one of this run

    @property
    def silent_lanes(self) -> int:
        """How many lanes no window waits for any more."""
        return len(self.silent)

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
        if self.sender is not None:
            await self.sender.send_due()

    async def run_forever(self, every_s: float, chores: Callable[[], Awaitable[None]]) -> None:
        """Sync, push and do chores again and again, none waiting for another. Never returns."""
        async with anyio.create_task_group() as group:
            forever = self.repeater.forever
            group.start_soon(forever, "sync", self.sync, every_s, Wake())
            group.start_soon(forever, "push", self.outbox.push_due, every_s, self._made)
            group.start_soon(forever, "chores", chores, every_s, Wake())
            if self.sender is not None:
                self.sender.start(group, self.repeater, every_s)

    async def sync(self, *, close_now: bool = False) -> None:
        """Steps 1 to 7. Raises MeteringError or SQLAlchemyError when a store is away, OSError when
        the push log is."""
        made, resets, looked = self.records_made, self.drainer.resets, False
        self._failure = None
        with self._going_on():
            await self.halt.look()
            looked = True
        lanes = await self._alive()
        drained = await self.drainer.drain_all(self.partitions)
        self._note_booked(lanes, drained)
        self._note(self.drainer.failure)
        with self._going_on():
            await self._import()
        with self._going_on():
            # The drains may have found the ledger set back.
            if not looked or self.drainer.failure or self.drainer.resets > resets:
                await self.halt.look()
            if self.halt.stop is None:
                await self._record(lanes, drained, close_now=close_now)
        await self._prune()
        if self.records_made > made:
            self._made.set()
        if self._failure is not None:
            raise self._failure
        self.runs += 1

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What a store that is away keeps from being done is raised at the end of the run."""
        try:
            yield
        except (MeteringError, OSError) as failure:
            self._note(failure)

    def _note_booked(self, lanes: Mapping[str, Heartbeat] | None, drained: set[int]) -> None:
        """Until when the ledger has everything, where this run brought all there was."""
        if lanes is not None and len(drained) == self.partitions:
            now_ms = self.clock.now_ms()
            flushed = flushed_through(lanes, now_ms=now_ms, grace_ms=self.grace_ms)
            self.booked_through = now_ms if flushed is None else flushed

    def _note(self, failure: Exception | None) -> None:
        self._failure = self._failure or failure

    async def _alive(self) -> Mapping[str, Heartbeat] | None:
        """The lanes that have been heard of; None where Redis does not say."""
        try:
            lanes = await heartbeats.read(self.redis)
        except MeteringError as failure:
            self._note(failure)
            return None
        self.drainer.heard.note(lanes, self.clock.now_ms())
        return lanes

    async def _import(self) -> None:
        """Step 4. A ledger that was set back may lack findings that Redis says it has."""
        if self.halt.stop is None:
            self._asked_again = False
        elif not self._asked_again:
            await findings.untake(self.redis)
            self._asked_again = True
        await self.importer.run()

    async def _record(
        self, lanes: Mapping[str, Heartbeat] | None, drained: set[int], *, close_now: bool
    ) -> None:
        """Steps 5 and 6. Without heartbeats nobody knows what is complete."""
        now_ms = self.clock.now_ms()
        if lanes is not None:
            self._note_silent(lanes, now_ms)
            await self._close(lanes, drained, now_ms)
        if close_now:
            await self._cut_open_hour()
        await self._cut(await self._partitions_with_ended(now_ms), released_only=True)

    def _note_silent(self, lanes: Mapping[str, Heartbeat], now_ms: int) -> None:
        silent = {name for name, beat in lanes.items() if now_ms - beat.at > self.grace_ms}
        for name in sorted(silent - self.silent):
            log.warning(
                "lane %s is silent: windows no longer wait for it; what it still holds will be "
                "booked late, or is given up by `tallygate lanes forget`",
                name,
            )
        self.silent = frozenset(silent)

    async def _close(self, lanes: Mapping[str, Heartbeat], drained: set[int], now_ms: int) -> None:
        """Only partitions that were drained since the heartbeats were read: the others would miss
        what is still in Redis."""
        stood, reset_ms = await to_thread.run_sync(self._stood)
        through = complete_through(lanes, now_ms=now_ms, grace_ms=self.grace_ms, reset_ms=reset_ms)
        for partition in sorted(drained):
            if stood[partition] < through:
                made = await to_thread.run_sync(self._close_one, partition, through)
                if made is None:  # another control plane did it, or stopped it
                    continue
                self.records_made += made.records
                self.left[partition] = made.left
                stood[partition] = through
        self.closed_through = min(stood.values(), default=0)

    def _close_one(self, partition: int, through: int) -> Made | None:
        return self._closer.close(
            partition,
            through_ms=through,
            now_ms=self.clock.now_ms(),
            newest_claim=self.outbox.log.newest(),
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
        return self._closer.cut(
            partition,
            now_ms=self.clock.now_ms(),
            released_only=released_only,
            newest_claim=self.outbox.log.newest(),
        )

    def _stood(self) -> tuple[dict[int, int], int]:
        """How far each partition is closed, and when one was last reset, by whichever of us."""
        with reading(self.engine) as session:
            return ledger.closed_through(session), ledger.last_reset_ms(session)

    async def _prune(self) -> None:
        """Step 7: now and then a batch of one partition, so that no run is long."""
        now_ms = self.clock.now_ms()
        if not 0 <= now_ms - self._pruned_ms < _PRUNE_MS // self.partitions:
            self._pruned, self._pruned_ms = (self._pruned + 1) % self.partitions, now_ms
            await to_thread.run_sync(self._let_go, self._pruned, now_ms)

    def _let_go(self, partition: int, now_ms: int) -> None:
        with reading(self.engine) as session:
            old = history.old(session, partition, now_ms)
        if any(old):
            with writing(self.engine) as session:
                history.let_go(session, old)

    async def _partitions_with_ended(self, now_ms: int) -> set[int]:
        return await to_thread.run_sync(self._find_ended, now_ms - SETTLE_MS)

    def _find_ended(self, until_ms: int) -> set[int]:
        """The partitions of instances that were released or upgraded."""
        with reading(self.engine) as session:
            released = partitions_with_released(
                session, since_ms=until_ms - _RECENT_MS, until_ms=until_ms
            )
            return released | upgrades.partitions_with_open(session, received_until=until_ms)
