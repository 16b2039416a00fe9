"""The composition of the control plane: its services and the loops beside them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from billing_sync.callbacks import CallbackService
from billing_sync.erasing import Eraser
from billing_sync.key_uses import KeyUses
from billing_sync.kit_callbacks import KitService
from billing_sync.koogallery.orders import OrderClient
from billing_sync.parts import Parts, key_ring_of, licences_of, mapper_of, runner_of, set_up
from billing_sync.people import linker_of, told_pages_of
from billing_sync.projector import Projector
from billing_sync.repeating import Wake
from billing_sync.store.worker import SqlWorker
from billing_sync.telemetry import Telemetry
from billing_sync.usage_view import UsageView
from metering.counters import Counters

EVERY_S: Final = 1.0
KEY_USES_S: Final = 2.0


class Control:
    """One control plane process; what it serves is made in sites.py."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        counters = Counters(parts.redis)
        self._changed = Wake()
        self._balances_changed = Wake()
        self.view = UsageView(
            parts.engine, counters, parts.catalogue, parts.partitions, parts.clock
        )
        self.runner = runner_of(parts, counters)
        self.projector = Projector(
            parts.engine, parts.redis, parts.clock, lambda: self.runner.drainer.resets
        )
        self.licences = licences_of(parts)
        self.callbacks = CallbackService(
            engine=parts.engine,
            settings=parts.koogallery,
            catalogue=parts.catalogue,
            orders=OrderClient(parts.http, parts.koogallery, parts.clock),
            figures=self.view,
            secret=parts.secret,
            front_end_url=parts.front_end_url,
            clock=parts.clock,
            randomness=os.urandom,
            on_change=self._on_change,
            on_licence=self.licences.wake,
            pages=told_pages_of(parts),
        )
        self.linker = linker_of(parts)
        self.key_ring = key_ring_of(parts, self._changed.set)
        self.kit = KitService(
            SqlWorker(parts.engine), parts.koogallery, parts.secret, parts.clock, os.urandom
        )
        self.mapper = mapper_of(parts, self._changed.set)
        keep_ms = parts.koogallery.keep_released_ms
        self.eraser = Eraser(SqlWorker(parts.engine), parts.clock, keep_ms, self._changed.set)
        self.telemetry = Telemetry(
            parts.engine,
            self.runner,
            self.callbacks,
            lambda: self.projector.projected,
            parts.clock,
            self.kit.answers,
            self.licences.jobs.results,
            parts.metrics,
            parts.data_dir / "reports",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sets the ledger up, then runs the loops for as long as the block does.

        Raises PartitionsDiffer, StaticConflict, SQLAlchemyError, and what the block raises.
        """
        await to_thread.run_sync(set_up, self.parts)
        try:
            async with anyio.create_task_group() as group:
                self._start_loops(group)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
        except BaseExceptionGroup as failures:  # the loops raise nothing, so it is the block's own
            raise failures.exceptions[0] from None

    def _start_loops(self, group: TaskGroup) -> None:
        forever = self.runner.repeater.forever
        group.start_soon(self.runner.run_forever, EVERY_S, self._chores)
        group.start_soon(forever, "projection", self.projector.run, EVERY_S, self._changed)
        self.licences.start(group, self.runner.repeater, EVERY_S)
        uses = KeyUses(self.parts.engine, self.parts.redis, self.parts.clock)
        group.start_soon(forever, "last uses of keys", uses.run, KEY_USES_S, Wake())
        if teller := self.runner.drainer.teller:
            group.start_soon(forever, "balances", teller.run, EVERY_S, self._balances_changed)

    def _on_change(self) -> None:
        """A callback changed what customers may use."""
        self._changed.set()
        self._balances_changed.set()

    async def _chores(self) -> None:
        await self.callbacks.resolve()
        await self.mapper.run()
        await self.eraser.run()
