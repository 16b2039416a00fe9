"""The composition of the control plane: its two applications and the loops beside them."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import httpx
from anyio import to_thread
from anyio.abc import TaskGroup
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync import admin_api, callbacks, correction_api, key_api, mapping_api
from billing_sync.alert_api import AlertApi
from billing_sync.alert_sending import AlertSender
from billing_sync.alert_settings import AlertSettings
from billing_sync.callbacks import CallbackService
from billing_sync.console import assembly
from billing_sync.console.ports import Prover
from billing_sync.correcting import Corrector
from billing_sync.drain import Drainer
from billing_sync.erasing import Eraser
from billing_sync.key_making import KeyMaker
from billing_sync.key_ring import KeyRing
from billing_sync.key_uses import KeyUses
from billing_sync.koogallery.orders import OrderClient
from billing_sync.koogallery.usage_push import PushClient, body_of
from billing_sync.mapping import Mapper
from billing_sync.outbox import Outbox
from billing_sync.projector import Projector
from billing_sync.push_log import PushLog
from billing_sync.record_api import RecordApi
from billing_sync.repeating import Wake
from billing_sync.runner import Runner
from billing_sync.settings import BillingSettings, KooGallerySettings
from billing_sync.store import customers, ledger
from billing_sync.store.customers import StaticCustomer
from billing_sync.store.engine import writing
from billing_sync.store.worker import SqlWorker
from billing_sync.taking_over import Taker
from billing_sync.telemetry import Telemetry
from billing_sync.telling import Teller
from billing_sync.tending import Tender
from billing_sync.usage_view import UsageView
from billing_sync.watching import Terms
from billing_sync.zones import day_zone
from metering.bank import Bank
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters

EVERY_S: Final = 1.0
KEY_USES_S: Final = 2.0


@dataclass
class Parts:
    """What the control plane is made from. `front_end_url` is told to buyers; the push log is kept
    in `data_dir`."""

    engine: Engine
    data_dir: Path
    redis: Store = field(repr=False)
    http: httpx.AsyncClient
    catalogue: Catalogue
    partitions: int
    billing: BillingSettings
    koogallery: KooGallerySettings
    static: Sequence[StaticCustomer]
    secret: bytes = field(repr=False)
    admin_token: str = field(repr=False)
    front_end_url: str
    clock: Clock
    prover: Prover | None = None
    alerts: AlertSettings = field(default_factory=AlertSettings)


def new_id() -> str:
    """A random id for epochs, drains and claims."""
    return uuid.uuid4().hex


class Control:
    """One control plane process: `public` and `admin` are served by whoever runs it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
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
        )

    def public(self) -> Starlette:
        """KooGallery's listener."""
        return Starlette(routes=callbacks.routes(self.callbacks))

    def admin(self) -> Starlette:
        """The operator's listener."""
        parts = self._parts
        deciding = RecordApi(parts.engine, push_log_of(parts), parts.clock, new_id)
        listing = admin_api.routes(
            self.view,
            parts.engine,
            self.telemetry.registry(),
            parts.admin_token,
            lambda: self.runner.halt.stop,
        )
        correcting = correction_api.routes(corrector_of(parts), parts.admin_token)
        keys = key_api.routes(key_ring_of(parts, self._changed.set), parts.admin_token)
        alerting = AlertApi(parts.engine, parts.clock, parts.alerts.terms.webhooks)
        return Starlette(
            routes=[
                *listing,
                *assembly.routes_of(self._console_parts()),
                *deciding.routes(parts.admin_token),
                *correcting,
                *keys,
                *mapping_api.routes(self.mapper, parts.admin_token),
                *alerting.routes(parts.admin_token),
            ]
        )

    def _console_parts(self) -> assembly.ControlParts:
        parts = self._parts
        return assembly.ControlParts(
            self.runner,
            self.view,
            self.mapper,
            corrector_of(parts),
            key_ring_of(parts, self._changed.set),
            parts.admin_token,
            parts.alerts.terms.webhooks,
            parts.prover,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sets the ledger up, then runs the loops for as long as the block does.

        Raises PartitionsDiffer, StaticConflict, SQLAlchemyError, and what the block raises.
        """
        await to_thread.run_sync(set_up, self._parts)
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
        uses = KeyUses(self._parts.engine, self._parts.redis, self._parts.clock)
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


def set_up(parts: Parts) -> None:
    """First start: partitions and static customers. Raises PartitionsDiffer, StaticConflict."""
    ids = iter(new_id, "")
    ledger.set_up(parts.engine, parts.partitions, ids, parts.clock.now_ms())
    with writing(parts.engine) as session:
        customers.upsert_static(session, parts.static, parts.catalogue, parts.clock.now_ms())


def runner_of(parts: Parts, counters: Counters) -> Runner:
    """The sync run of this configuration; also what `tallygate sync` uses."""
    drainer = drainer_of(parts, counters)
    return Runner(
        engine=parts.engine,
        redis=parts.redis,
        drainer=drainer,
        outbox=outbox_of(parts),
        catalogue=parts.catalogue,
        partitions=parts.partitions,
        grace_ms=parts.billing.grace_ms,
        clock=parts.clock,
        zone=day_zone(parts.billing, parts.koogallery),
        sender=AlertSender(parts.engine, parts.http, parts.alerts.webhooks, parts.clock),
    )


def outbox_of(parts: Parts) -> Outbox:
    """What pushes this ledger's records."""
    terms = Terms(parts.catalogue, day_zone(parts.billing, parts.koogallery))
    return Outbox(
        parts.engine,
        PushClient(parts.http, parts.koogallery, parts.clock, lambda: str(uuid.uuid4())),
        parts.clock,
        push_log_of(parts),
        new_id,
        tender=Tender(parts.engine, parts.clock, new_id, terms, parts.billing),
        body_of=body_of(parts.koogallery),
    )


def drainer_of(parts: Parts, counters: Counters) -> Drainer:
    """What brings usage from Redis into this ledger, and tells the lending bank of it."""
    teller = Teller(parts.engine, Bank(parts.redis), parts.catalogue, parts.partitions, parts.clock)
    terms = parts.alerts.terms
    return Drainer(parts.engine, counters, parts.catalogue, parts.clock, new_id, teller, terms)


def corrector_of(parts: Parts) -> Corrector:
    """What takes adjustments and assigns suspense in this ledger."""
    log = push_log_of(parts)
    terms = parts.alerts.terms
    return Corrector(parts.engine, log, parts.catalogue, parts.partitions, parts.clock, terms)


def key_ring_of(parts: Parts, on_change: Callable[[], None]) -> KeyRing:
    """What manages this ledger's API keys."""
    maker = KeyMaker(parts.secret, os.urandom)
    return KeyRing(SqlWorker(parts.engine), maker, parts.clock, parts.static, on_change)


def mapper_of(parts: Parts, on_change: Callable[[], None]) -> Mapper:
    """What maps product ids that are not configured."""
    return Mapper(SqlWorker(parts.engine), parts.catalogue, parts.clock, on_change)


def taker_of(parts: Parts, on_change: Callable[[], None]) -> Taker:
    """What takes instances over that exist at the marketplace already."""
    maker = KeyMaker(parts.secret, os.urandom)
    return Taker(SqlWorker(parts.engine), parts.catalogue, maker, parts.clock, on_change)


def push_log_of(parts: Parts) -> PushLog:
    """The push log of this installation."""
    return PushLog(parts.data_dir / "push")
