"""The composition of one gateway worker: its applications and the loops beside them.

Order at the end of a worker: the listeners stop and open calls finish (the caller's part), then the
last flush brings every record to Redis, then the lane says farewell.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError
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

    def __post_init__(self) -> None:
        self.telemetry = Telemetry()
        self.recorder = Recorder(self.lane, Counters(self.redis), self.clock)
        self.entitlements_loaded = False

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
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loops run for as long as the block does; leaving it flushes what is left."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._flush_forever)
            group.start_soon(self._beat_forever)
            group.start_soon(self._check_forever)
            group.start_soon(self._listen_forever)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._leave()

    async def _flush_forever(self) -> None:
        while True:
            failures = self.recorder.failures
            await self.recorder.flush()
            failed = self.recorder.failures != failures
            await anyio.sleep(_AFTER_FAILURE_S if failed else FLUSH_S)

    async def _beat_forever(self) -> None:
        while True:
            await self._beat()
            await anyio.sleep(BEAT_S)

    async def _beat(self) -> None:
        through = await self.recorder.flush(probe=True)
        if through is None:
            return
        try:
            said = Heartbeat(through, self.clock.now_ms())
            await heartbeats.beat(self.redis, self.lane.lane_id, said)
        except MeteringError as reason:
            log.debug("heartbeat: %s", reason)

    async def _check_forever(self) -> None:
        """The full check: heals whatever a lost message hid."""
        while True:
            try:
                for snapshot in await entitlements.get_all(self.redis):
                    self.directory.put(snapshot)
                self.entitlements_loaded = True
            except MeteringError as reason:
                log.debug("entitlements: %s", reason)
            await anyio.sleep(CHECK_S if self.entitlements_loaded else _AFTER_FAILURE_S)

    async def _listen_forever(self) -> None:
        while True:
            try:
                async for customer_id in entitlements.changes(self.redis):
                    snapshot = await entitlements.get(self.redis, customer_id)
                    if snapshot is not None:
                        self.directory.put(snapshot)
            except (MeteringError, RedisError) as reason:
                log.debug("entitlement changes: %s", reason)
            await anyio.sleep(_AFTER_FAILURE_S)

    async def _leave(self) -> None:
        with anyio.move_on_after(LAST_FLUSH_S):
            while await self.recorder.flush() is None:  # noqa: ASYNC110  (Redis sends no event)
                await anyio.sleep(_AFTER_FAILURE_S)
        if self.recorder.backlog:
            log.error("stopped with %d records that Redis did not take", self.recorder.backlog)
        else:
            try:
                await heartbeats.farewell(self.redis, self.lane.lane_id)
            except MeteringError as reason:
                log.debug("farewell: %s", reason)
        await self.redis.aclose()
