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
from starlette.exceptions import HTTPException

from billing_sync import (
    acting,
    admin_api,
    callbacks,
    correction_api,
    key_api,
    kit_callbacks,
    link_api,
    mapping_api,
    openapi,
    tenant_api,
)
from billing_sync.alert_api import AlertApi
from billing_sync.alert_sending import AlertSender
from billing_sync.alert_settings import AlertSettings
from billing_sync.api_answers import not_served
from billing_sync.callbacks import CallbackService
from billing_sync.console.ports import Ports, Prover
from billing_sync.console.running import facts_of
from billing_sync.console.site import console_routes
from billing_sync.correcting import Corrector
from billing_sync.drain import Drainer
from billing_sync.erasing import Eraser
from billing_sync.key_making import KeyMaker
from billing_sync.key_ring import KeyRing
from billing_sync.key_uses import KeyUses
from billing_sync.kit_callbacks import KitService
from billing_sync.koogallery.orders import OrderClient
from billing_sync.koogallery.usage_push import PushClient, body_of
from billing_sync.licence_api import LicenceApi
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_plant import LicencePlant, plant_of
from billing_sync.mapping import Mapper
from billing_sync.models import UsageRecord
from billing_sync.outbox import Outbox
from billing_sync.people import linker_of, pages_of, told_pages_of
from billing_sync.projector import Projector
from billing_sync.push_log import PushLog
from billing_sync.record_api import RecordApi
from billing_sync.repeating import Wake
from billing_sync.runner import Runner
from billing_sync.settings import (
    BillingSettings,
    ControlSettings,
    KooGallerySettings,
    MetricsSettings,
)
from billing_sync.shown_limits import LimitsOf, no_limits
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
    """What the control plane is made from. `front_end_url` is told to buyers, `control_url` is where
    customers find their pages; the push log is kept in `data_dir`."""

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
    alerts: AlertSettings = field(default_factory=AlertSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    control_url: str = ""
    limits_of: LimitsOf = no_limits
    quota_path: str | None = None
    prover: Prover | None = None
    metrics: MetricsSettings = field(default_factory=MetricsSettings)


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

    def public(self) -> Starlette:
        """KooGallery's listener, and that of customers' people."""
        people = pages_of(self._parts, self.view, self.key_ring)
        of_koogallery = [*callbacks.routes(self.callbacks), *kit_callbacks.routes(self.kit)]
        return Starlette(routes=[*of_koogallery, *people])

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
        keys = key_api.routes(self.key_ring, parts.admin_token)
        alerting = AlertApi(parts.engine, parts.clock, parts.alerts.terms.webhooks)
        licensing = LicenceApi(parts.engine, parts.clock, self.licences.wake)
        return Starlette(
            routes=[
                *listing,
                *deciding.routes(parts.admin_token),
                *correcting,
                *keys,
                *link_api.routes(self.linker, parts.admin_token),
                *mapping_api.routes(self.mapper, parts.admin_token),
                *alerting.routes(parts.admin_token),
                *tenant_api.routes(SqlWorker(parts.engine), parts.admin_token),
                *licensing.routes(parts.admin_token),
                *openapi.routes(parts.admin_token),
                *console_routes(self._ports()),
            ],
            exception_handlers={HTTPException: not_served},
        )

    def _ports(self) -> Ports:
        """What the console is given."""
        parts, log = self._parts, push_log_of(self._parts)

        def decide(decision: acting.Decision) -> UsageRecord:
            now_ms = parts.clock.now_ms()
            return acting.perform(parts.engine, log, decision, act_id=new_id(), now_ms=now_ms)

        zone = day_zone(parts.billing, parts.koogallery)
        return Ports(
            engine=parts.engine,
            view=self.view,
            clock=parts.clock,
            zone=zone,
            terms=Terms(parts.catalogue, zone),
            decide=decide,
            corrector=corrector_of(parts),
            keys=key_ring_of(parts, self._changed.set),
            mapper=self.mapper,
            webhooks=parts.alerts.terms.webhooks,
            facts=lambda: facts_of(self.runner),
            stop=lambda: self.runner.halt.stop,
            admin_token=parts.admin_token,
            randomness=os.urandom,
            prover=parts.prover,
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
        self.licences.start(group, self.runner.repeater, EVERY_S)
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


def licences_of(parts: Parts) -> LicencePlant:
    """What makes and uploads this ledger's licences. Raises MakerUnusable."""
    keeper = Keeper(parts.secret, os.urandom)
    return plant_of(
        parts.engine, parts.http, parts.koogallery, parts.catalogue, keeper, parts.clock
    )


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
