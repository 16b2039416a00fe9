"""A control plane as customers' people meet it: its public listener, two customers, two tenants."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.app import Control
from billing_sync.kit_calls import AppTold, KitCall, Sync, TenantTold, UsersTold, UserTold
from billing_sync.kit_marks import Flag
from billing_sync.link_tokens import Link, UsageLinks
from billing_sync.models import CustomerRow, Instance
from billing_sync.parts import Parts, set_up
from billing_sync.settings import BillingSettings, ControlSettings, KooGallerySettings
from billing_sync.sites import public_site
from billing_sync.store import kit
from billing_sync.store.engine import writing
from billing_sync.store.kit_access import CLIENT_SECRET
from metering import keys
from tests.billing_sync.books import CATALOGUE, START
from tests.databases import folder_of
from tests.fakes import FakeClock

SECRET = b"0123456789abcdef0123456789abcdef"
BASE = "http://meter.test"
PARTITIONS = 4


def told(
    engine: Engine,
    instance_id: str,
    tenant_id: str,
    domain_name: str,
    at: int,
    people: dict[str, str],
    *,
    flag: Flag = Flag.ADD,
) -> None:
    """What tenantSync, applicationSync and authSync say of one instance; `people` and their roles."""
    sealed = keys.seal(SECRET, "secret-1", os.urandom(12), CLIENT_SECRET)
    users = tuple(UserTold(name, name.title(), "org", role, True) for name, role in people.items())
    for sync, what in (
        (Sync.TENANT, TenantTold("code", "Enterprise", domain_name, "o")),
        (Sync.APPLICATION, AppTold("app", "client-1", sealed)),
        (Sync.AUTH, UsersTold("app", users)),
    ):
        with writing(engine) as session:
            call = KitCall(sync, instance_id, tenant_id, Flag.ADD, at, what)
            assert kit.apply(session, call)
    if flag is not Flag.ADD:
        authorize(engine, instance_id, tenant_id, at + 1, people, flag)


def authorize(
    engine: Engine,
    instance_id: str,
    tenant_id: str,
    at: int,
    people: dict[str, str],
    flag: Flag,
) -> None:
    """One authSync."""
    users = tuple(UserTold(name, name.title(), "org", role, True) for name, role in people.items())
    with writing(engine) as session:
        call = KitCall(Sync.AUTH, instance_id, tenant_id, flag, at, UsersTold("app", users))
        assert kit.apply(session, call)


class PeopleSite:
    """Customers `c` (instances `i`, `k`, package `pack`) and `d` (instance `of-d`)."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        assert isinstance(parts.clock, FakeClock)
        self.clock = parts.clock
        self.engine = parts.engine
        self.control = Control(parts)
        self.links = UsageLinks.of(BASE, SECRET)
        self.leaving = AsyncExitStack()
        with writing(parts.engine) as session:
            session.add_all([CustomerRow(id="c", name="Customer C"), CustomerRow(id="d", name="D")])
            for instance_id, customer_id, product_id in (
                ("i", "c", "TOKENS"),
                ("k", "c", "CALLS"),
                ("pack", "c", "PACK"),
                ("of-d", "d", "TOKENS"),
            ):
                session.add(
                    Instance(
                        id=instance_id,
                        customer_id=customer_id,
                        product_id=product_id,
                        is_package=CATALOGUE[product_id].is_package,
                        status="active",
                        started=START - 86_400_000,
                    )
                )

    def link(self, customer_id: str = "c", instance_id: str = "", **given: int) -> str:
        """The path of a page, good for an hour."""
        expires = 0 if instance_id else self.clock.now_ms() // 1000 + 3600
        link = Link(customer_id, instance_id, **({"expires": expires} | given))
        return self.links.url(link).removeprefix(BASE)

    def browser(self) -> httpx.AsyncClient:
        """Somebody's own; it follows nothing by itself."""
        return client_of(public_site(self.control))


def client_of(app: Starlette, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


@asynccontextmanager
async def site(engine: Engine, redis: Redis, **given: Any) -> AsyncIterator[PeopleSite]:
    """Set up, without its loops. `control` are settings of the section."""
    async with httpx.AsyncClient(trust_env=False) as http:
        folder: Path = folder_of(engine)
        parts: dict[str, Any] = {
            "engine": engine,
            "data_dir": folder,
            "redis": redis,
            "http": http,
            "catalogue": CATALOGUE,
            "partitions": PARTITIONS,
            "billing": BillingSettings(),
            "koogallery": KooGallerySettings(base_url="http://127.0.0.1:1"),
            "static": [],
            "secret": SECRET,
            "admin_token": "t0ken",
            "front_end_url": "https://api.example.com",
            "clock": FakeClock(START + 600_000),
            "control_url": BASE,
            "control": ControlSettings.model_validate(given.pop("control", {})),
        }
        made = Parts(**(parts | given))
        set_up(made)
        people = PeopleSite(made)
        async with people.leaving:
            yield people
