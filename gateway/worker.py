"""The composition of one gateway worker: its applications and the loops beside them.

The order at the end of a worker, and what a kill before the next step leaves behind:

1. the listeners stop and open calls finish (the caller's part)    open calls are named uncertain
2. the last flush brings every record to Redis                    another worker replays the rest
3. the lane says farewell                                         another worker says it
4. the lane is sealed and let go of                               another worker seals it
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread
from starlette.applications import Starlette

from gateway.admission import Directory
from gateway.agents import Agents
from gateway.app import Public, build_admin, build_public
from gateway.caretaker import Caretaker, Helper
from gateway.entitlement_file import EntitlementFile
from gateway.entitlement_metrics import EntitlementMetrics
from gateway.following import Following
from gateway.freshness import Freshness
from gateway.gate import Served
from gateway.journal_metrics import DiskMetrics, JournalMetrics
from gateway.last_uses import LastUses
from gateway.limit_metrics import LimitMetrics
from gateway.limit_settings import NO_LIMITS, Limits
from gateway.limiting import Lane, limiting
from gateway.onlookers import NOBODY, Onlookers
from gateway.pacing import FLUSH_S, pause_s
from gateway.pool_metrics import PoolMetrics
from gateway.quota import QuotaSource
from gateway.quota_limits import LimitsNow
from gateway.recorder import Recorder
from gateway.reloads import Reloads
from gateway.routing import RouteTable
from gateway.settings import GatewaySettings
from gateway.shared_metrics import SharedMetrics
from gateway.standing import StandingOf
from gateway.telemetry import Telemetry
from metering import heartbeats
from metering.bank import Bank
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.journal import Journal
from metering.lanes import lanes_in, ownerless

log = logging.getLogger("tallygate.gateway")

BEAT_S: Final = 1.0
CHECK_S: Final = 5.0
LAST_FLUSH_S: Final = 10.0
PRUNE_BEATS: Final = 60
_AFTER_FAILURE_S: Final = 0.5
_ASKED_AT_ONCE: Final = 16  # partitions asked a second besides those in use
_BEHIND_TURNS: Final = 2  # a moment's disagreement heals by itself


@dataclass
class Worker:
    """One gateway process: `public` and `admin` are served by whoever runs it."""

    table: RouteTable
    directory: Directory
    settings: GatewaySettings
    redis: Store
    lane: Journal
    journal_dir: Path
    partitions: int
    clock: Clock
    start_helper: Callable[[list[str]], Helper]
    file: EntitlementFile
    limits: Limits = NO_LIMITS
    agents: Agents | None = None
    onlookers: Onlookers = NOBODY
    check_s: float = CHECK_S
    last_flush_s: float = LAST_FLUSH_S

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(exemplars=self.settings.metrics.exemplars)
        self.recorder = Recorder(
            self.lane,
            Counters(self.redis),
            self.clock,
            self.partitions,
            deny_without_store=self.settings.on_store_down == "deny",
        )
        self.caretaker = Caretaker(self.start_helper)
        self._settled: set[str] = set()  # lanes that are retired
        self._seen = (0, 0)  # resets and rounds when retired lanes were looked at last
        self._behind = 0
        self._flushing = anyio.Lock()
        self.reloads = Reloads(self.clock.now_ms())
        standing = StandingOf(self.recorder.applier, self.lane.tail, self._flushing)
        lane, bank = Lane(self.lane.lane_id, self.partitions, standing), Bank(self.redis)
        alone = self.settings.on_store_down == "allow"
        tell = (self.clock, time.monotonic)
        self.limiting = limiting(self.limits, bank, lane, *tell, go_on_alone=alone)
        served = (self.table, self.directory, self.recorder, self.clock)
        others: dict[str, Any] = {"agents": self.agents, "onlookers": self.onlookers}
        self._customers = build_public(
            *served, self.settings, self.telemetry, limiting=self.limiting, **others
        )
        limits_now = LimitsNow(self.limiting.braking, bank, self.clock.now_ms)
        self._customers.tell_quota(QuotaSource(bank, limits_now, self.partitions))
        self.directory.complete = False
        stale_s = self.settings.entitlements_stale_after
        self.following = Following(
            self.redis,
            self.file,
            self.clock,
            time.monotonic,
            Freshness(stale_s, time.monotonic()),
            self.settings.on_entitlements_stale == "deny",
            lambda snapshot: self.directory.put(snapshot),  # noqa: PLW0108  (there will be others)
            self._changed,
            self._customers.shut,
            min(self.check_s, stale_s / 3),
        )
        self._disk = DiskMetrics(self.journal_dir)
        registry = self.telemetry.registry(
            JournalMetrics(self.lane, self.recorder, self.caretaker, self.clock),
            *(self._disk, PoolMetrics(self._customers.pools), self._customers.cutting),
            *(EntitlementMetrics(self.following), self.reloads, LimitMetrics(self.limiting)),
            self._customers.agent_metrics(),
        )
        self.metrics = SharedMetrics(self.journal_dir, self.lane.lane_id, registry.collect)
        take_used = lambda: self.directory.take_used()  # noqa: E731, PLW0108  (there will be others)
        self._last_uses = LastUses(self.redis, self.clock, take_used)

    def public(self) -> Public:
        """The customers' listener."""
        return self._customers

    def projected(self) -> dict[str, EntitlementSnapshot]:
        """What the control plane said of each customer last."""
        return self.following.taken()

    def serve(self, served: Served, since: Mapping[str, EntitlementSnapshot]) -> None:
        """These routes and customers from now on, the projected ones as well; no exchange is cut.

        `served.directory` holds what `projected` gave as `since`. Raises OSError for an unusable
        `ca_file`; then nothing changes.
        """
        for customer_id, snapshot in self.projected().items():
            if since.get(customer_id) != snapshot:
                served.directory.put(snapshot)
        served.directory.complete = self.directory.complete
        self._customers.serve(served)
        served.directory.used |= self.directory.take_used()
        self.table, self.directory = served.table, served.directory
        self._changed()

    def admin(self) -> Starlette:
        """The operator's listener."""
        return build_admin(self.metrics, self.not_ready, self.journal)

    def not_ready(self) -> str | None:
        """Why customers should not be sent here yet. A Redis that goes away later is no reason."""
        if not self.lane.writable:
            return "the journal takes no more calls"
        loaded = self.following.freshness.loaded
        return None if loaded else "entitlements are not loaded yet"

    def journal(self) -> dict[str, Any]:
        """What the lanes of this disk were given, and what Redis has not taken of ours yet."""
        totals = self.lane.totals()
        others = [lane for lane in lanes_in(self.journal_dir) if lane.lane_id != self.lane.lane_id]
        for lane in others:
            said = lane.totals()
            totals = totals.plus(said.records, said.quantities)
        return {
            "lane": self.lane.lane_id,
            "lanes": len(others) + 1,
            "records": totals.records,
            "quantities": totals.quantities,
            "open_requests": self.lane.open_requests,
            "writable": self.lane.writable,
            "backlog": self.recorder.applier.backlog,
            "flush_failures": self.recorder.applier.failures,
            "entitlements_unreadable": self.following.unreadable,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loops run for as long as the block does; leaving it, in any way, flushes what is left."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._flush_forever)
                group.start_soon(self._beat_forever)
                group.start_soon(self._take_care_forever)
                group.start_soon(self.following.check_forever)
                group.start_soon(self.following.listen_forever)
                group.start_soon(self.following.look_forever)
                group.start_soon(self.following.keep_forever)
                group.start_soon(self._last_uses.tell_forever)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self.caretaker.end)
                await self.following.leave()
                await self._leave()
                await to_thread.run_sync(self.lane.close)
                self.metrics.close()
                await self.redis.aclose()

    async def _flush(self, *, probe: bool = False) -> int | None:
        """One flush at a time: two would send the same batches."""
        async with self._flushing:
            return await self.recorder.flush(anyio.current_time(), probe=probe)

    async def _flush_forever(self) -> None:
        applier = self.recorder.applier
        while True:
            before = applier.batches
            await self._flush()
            due_s = anyio.current_time() + pause_s(applier.batches - before)
            while (left_s := due_s - anyio.current_time()) > 0:
                await anyio.sleep(min(left_s, FLUSH_S))
                self.telemetry.fold()

    async def _beat_forever(self) -> None:
        while True:
            through = await self._flush(probe=True)
            self.lane.keep_up()
            if through is not None:
                said = Heartbeat(through, self.clock.now_ms())
                with suppress(MeteringError):  # the control plane waits for the next one
                    await heartbeats.beat(self.redis, self.lane.lane_id, said)
                async with self._flushing:
                    await self.recorder.applier.ask_next(_ASKED_AT_ONCE)
            await anyio.sleep(BEAT_S)

    async def _take_care_forever(self) -> None:
        """Every second, whether somebody must look after lanes; every minute, the audit trail."""
        for beat in count():
            await anyio.sleep(BEAT_S)
            await self.metrics.publish_slowly()
            self._take_care(anyio.current_time())
            if beat % PRUNE_BEATS == 0:
                self.lane.prune()
                await to_thread.run_sync(self._disk.look)

    def _take_care(self, now_s: float) -> None:
        self._customers.cutting.look()  # for those whose time is up
        applier = self.recorder.applier
        self._behind = self._behind + 1 if applier.behind else 0
        now = (applier.resets, min(applier.rounds, 1))
        again, self._seen = self._seen != now, now
        found = ownerless(self.journal_dir, self._settled)
        self.caretaker.look(
            now_s,
            found,
            # The caretaker remembers; on a disk without other lanes there is nothing to look at.
            again=again and bool(found or self._settled),
            behind=self.lane.lane_id if self._behind >= _BEHIND_TURNS else "",
        )

    def _changed(self) -> None:
        """Something may be known that was not."""
        self.directory.complete = self.following.freshness.loaded
        self._customers.cutting.look()

    async def _leave(self) -> None:
        flushed = False
        with anyio.move_on_after(self.last_flush_s):
            while self.telemetry.open_exchanges:  # noqa: ASYNC110  (cut off; they end at once)
                await anyio.sleep(0.01)
            while await self._flush() is None:  # noqa: ASYNC110  (Redis sends no event)
                await anyio.sleep(_AFTER_FAILURE_S)
            flushed = True
        if not flushed:
            log.warning("stopped before Redis had taken every record; others bring the rest")
            return
        await self.limiting.lending.give_back()
        try:
            await heartbeats.farewell(self.redis, self.lane.lane_id)
        except MeteringError as reason:
            log.warning("the lane is not signed off: %s", reason)
