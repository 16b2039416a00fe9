"""The composition of one gateway worker: its applications and the loops beside them.

Order at the end of a worker: the listeners stop and open calls finish (the caller's part), then the
last flush brings every record to Redis, then the lane says farewell.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from starlette.applications import Starlette

from gateway.admission import Directory
from gateway.app import build_admin, build_public
from gateway.recorder import Recorder
from gateway.routing import RouteTable
from gateway.settings import GatewaySettings
from gateway.telemetry import Telemetry
from metering import entitlements, heartbeats
from metering.clock import Clock
from metering.counters import Counters
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.journal import MemoryLane

log = logging.getLogger("tallygate.gateway")

FLUSH_S: Final = 0.05
BEAT_S: Final = 1.0
CHECK_S: Final = 5.0
LAST_FLUSH_S: Final = 10.0
_AFTER_FAILURE_S: Final = 0.5


@dataclass
class Worker:
    """One gateway process: `public` and `admin` are served by whoever runs it."""

    table: RouteTable
    directory: Directory
    settings: GatewaySettings
    redis: Redis
    lane: MemoryLane
    clock: Clock
    check_s: float = CHECK_S
    last_flush_s: float = LAST_FLUSH_S

    def __post_init__(self) -> None:
        self.telemetry = Telemetry()
        self.recorder = Recorder(self.lane, Counters(self.redis), self.clock)
        self.entitlements_loaded = False
        self.entitlements_unreadable = 0  # values at the last full check that were no snapshot
        self._flushing = anyio.Lock()
        self._taken: dict[str, EntitlementSnapshot] = {}
        self._changed: set[str] = set()  # heard of while a full check was under way

    def public(self) -> Starlette:
        """The customers' listener."""
        return build_public(
            self.table, self.directory, self.recorder, self.clock, self.settings, self.telemetry
        )

    def admin(self) -> Starlette:
        """The operator's listener."""
        return build_admin(self.telemetry, self.not_ready, self.journal)

    def not_ready(self) -> str | None:
        """Why customers should not be sent here yet. A Redis that goes away later is no reason."""
        return None if self.entitlements_loaded else "entitlements are not loaded yet"

    def journal(self) -> dict[str, Any]:
        """What this process's lane was given, and what Redis has not taken yet."""
        totals = self.lane.totals()
        return {
            "lane": self.lane.lane_id,
            "records": totals.records,
            "quantities": totals.quantities,
            "backlog": self.recorder.backlog,
            "flush_failures": self.recorder.failures,
            "entitlements_unreadable": self.entitlements_unreadable,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loops run for as long as the block does; leaving it, in any way, flushes what is left."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._flush_forever)
                group.start_soon(self._beat_forever)
                group.start_soon(self._check_forever)
                group.start_soon(self._listen_forever)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave()
                await self.redis.aclose()

    async def _flush(self, *, probe: bool = False) -> int | None:
        """One flush at a time: two would send the same batches."""
        async with self._flushing:
            return await self.recorder.flush(probe=probe)

    async def _flush_forever(self) -> None:
        while True:
            failures = self.recorder.failures
            await self._flush()
            failed = self.recorder.failures != failures
            await anyio.sleep(_AFTER_FAILURE_S if failed else FLUSH_S)

    async def _beat_forever(self) -> None:
        while True:
            through = await self._flush(probe=True)
            if through is not None:
                said = Heartbeat(through, self.clock.now_ms())
                with suppress(MeteringError):  # the control plane waits for the next one
                    await heartbeats.beat(self.redis, self.lane.lane_id, said)
            await anyio.sleep(BEAT_S)

    async def _check_forever(self) -> None:
        """The full check: heals whatever a lost message hid, and says once when Redis is away."""
        away = False
        while True:
            try:
                await self._check()
                if away:
                    log.warning("Redis is back")
                away = False
            except MeteringError as reason:
                if not away:
                    log.warning("%s; calls go on and are counted when it is back", reason)
                away = True
            await anyio.sleep(_AFTER_FAILURE_S if away else self.check_s)

    async def _check(self) -> None:
        """Whoever is missing keeps what was said of him last: a Redis that was emptied says nothing.

        Customers are never deleted; who may not call any more is told so by his snapshot.
        """
        self._changed.clear()
        everyone = await entitlements.get_all(self.redis)
        for snapshot in everyone.snapshots:
            if snapshot.customer_id not in self._changed:  # or an older one would win
                self._take(snapshot)
        if everyone.unreadable > self.entitlements_unreadable:
            log.error("%d entitlements in Redis cannot be read", everyone.unreadable)
        self.entitlements_unreadable = everyone.unreadable
        self.entitlements_loaded = True

    async def _listen_forever(self) -> None:
        while True:
            with suppress(MeteringError):  # what is missed meanwhile is found by the full check
                async with aclosing(entitlements.changes(self.redis)) as changes:
                    async for customer_id in changes:
                        snapshot = await entitlements.get(self.redis, customer_id)
                        if snapshot is not None:
                            self._heard(snapshot)
            await anyio.sleep(_AFTER_FAILURE_S)

    def _heard(self, snapshot: EntitlementSnapshot) -> None:
        self._changed.add(snapshot.customer_id)
        self._take(snapshot)

    def _take(self, snapshot: EntitlementSnapshot) -> None:
        if self._taken.get(snapshot.customer_id) != snapshot:
            self._taken[snapshot.customer_id] = snapshot
            self.directory.put(snapshot)

    async def _leave(self) -> None:
        flushed = False
        with anyio.move_on_after(self.last_flush_s):
            while self.telemetry.open_exchanges:  # noqa: ASYNC110  (cut off; they end at once)
                await anyio.sleep(0.01)
            while await self.recorder.flush() is None:  # noqa: ASYNC110  (Redis sends no event)
                await anyio.sleep(_AFTER_FAILURE_S)
            flushed = True
        if not flushed:
            log.error("stopped before Redis had taken every record; the last ones are not counted")
            return
        try:
            await heartbeats.farewell(self.redis, self.lane.lane_id)
        except MeteringError as reason:
            log.warning("the lane is not signed off: %s", reason)
