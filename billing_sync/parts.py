"""What the control plane is made from, and what of it others make too: commands, the sync run."""

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine

from billing_sync.alert_sending import AlertSender
from billing_sync.alert_settings import AlertSettings
from billing_sync.console.ports import Prover
from billing_sync.correcting import Corrector
from billing_sync.drain import Drainer
from billing_sync.key_making import KeyMaker
from billing_sync.key_ring import KeyRing
from billing_sync.koogallery.usage_push import PushClient, body_of
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_plant import LicencePlant, plant_of
from billing_sync.mapping import Mapper
from billing_sync.outbox import Outbox
from billing_sync.push_log import PushLog
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
from billing_sync.telling import Teller
from billing_sync.tending import Tender
from billing_sync.watching import Terms
from billing_sync.zones import day_zone
from metering.bank import Bank
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters


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
