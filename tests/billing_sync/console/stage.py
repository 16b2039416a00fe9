"""A console over real books: everything the pages need, and a browser without a face."""

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from starlette.applications import Starlette

from billing_sync import acting, admin_api
from billing_sync.console.ports import Facts, Ports, Printed, Proof
from billing_sync.console.site import console_routes
from billing_sync.correcting import Corrector
from billing_sync.key_making import KeyMaker
from billing_sync.key_ring import KeyRing
from billing_sync.mapping import Mapper
from billing_sync.models import UsageRecord
from billing_sync.push_log import PushLog
from billing_sync.store.engine import writing
from billing_sync.store.stops import Stop
from billing_sync.store.worker import SqlWorker
from billing_sync.usage_view import UsageView
from billing_sync.watching import Terms
from billing_sync.zones import zone_named
from metering.catalogue import Price, Product, catalogue
from metering.counters import Counters
from tests.billing_sync.books import CATALOGUE, Books
from tests.fakes import Ids

TOKEN: Final = "t0ken-of-the-admin"
NAME: Final = "Ann Lee"
_NAMES: Final = {"CALLS": "Calls", "PACK": "10,000 tokens", "STOP": "10,000 tokens, then stop"}
PRICED: Final = catalogue(
    [
        *(
            product.model_copy(update={"name": _NAMES.get(product.product_id, "")})
            for product in CATALOGUE.values()
            if product.product_id != "TOKENS"
        ),
        Product(
            product_id="TOKENS",
            name="Chat tokens",
            meter="tokens_total",
            unit=1000,
            routes=["chat"],
            price=Price(unit_price="0.02"),  # type: ignore[arg-type]  # pydantic reads it
        ),
    ]
)
FACTS: Final = Facts(3, 4, 5, 0, [], 0, 0, [("sync", "OSError", 2)], [("accepted", 7)])


@dataclass
class PaperProver:
    """Says what it is told to say."""

    last_proof: Proof | None = None
    printed: Printed = field(default_factory=lambda: Printed("every difference is 0 <b>", True))

    def reports(self, most: int) -> Sequence[Proof]:
        return [self.last_proof][:most] if self.last_proof else []

    def last(self) -> Proof | None:
        return self.last_proof

    async def reconcile(self) -> Printed:
        return self.printed

    async def explain(self, wanted: str) -> Printed:
        return self.printed._replace(text=f"{wanted}: {self.printed.text}")


@dataclass
class Stage:
    """The parts, to be looked at and changed by tests."""

    books: Books
    ports: Ports
    prover: PaperProver
    stops: list[Stop]

    def app(self) -> Starlette:
        """The console and the API beside it."""
        ports = self.ports
        api = admin_api.routes(ports.view, ports.engine, CollectorRegistry(), TOKEN)
        return Starlette(routes=[*api, *console_routes(ports)])


def stage_of(books: Books, redis: Redis, folder: Path) -> Stage:
    """With a price on the tokens, in the zone of the China site."""
    zone, prover, stops = zone_named("Asia/Shanghai"), PaperProver(), list[Stop]()
    engine, clock, log = books.engine, books.clock, PushLog(folder / "push")
    ids = Ids("act")

    def decide(decision: acting.Decision) -> UsageRecord:
        return acting.perform(engine, log, decision, act_id=ids(), now_ms=clock.now_ms())

    worker = SqlWorker(engine)
    ports = Ports(
        engine=engine,
        view=UsageView(engine, Counters(redis), PRICED, 1, clock),
        clock=clock,
        zone=zone,
        terms=Terms(PRICED, zone),
        decide=decide,
        corrector=Corrector(engine, log, PRICED, 1, clock),
        keys=KeyRing(worker, KeyMaker(b"s" * 32, os.urandom), clock),
        mapper=Mapper(worker, PRICED, clock, lambda: None),
        webhooks=("ops",),
        facts=lambda: FACTS,
        stop=lambda: stops[0] if stops else None,
        admin_token=TOKEN,
        randomness=os.urandom,
        prover=prover,
    )
    return Stage(books, ports, prover, stops)


class Browser:
    """Cookies, links and forms; no scripts."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def csrf(self, path: str) -> str:
        """What the forms of a page carry."""
        return csrf_of(await self.client.get(path))

    async def send(self, path: str, page: str, **fields: str) -> httpx.Response:
        """A form that stands on `page`."""
        data = {"csrf": await self.csrf(page), **fields}
        return await self.client.post(path, data=data)

    async def sign_in(self, token: str = TOKEN, name: str = NAME) -> httpx.Response:
        return await self.send("/console/sign-in", "/console/sign-in", token=token, name=name)


def csrf_of(reply: httpx.Response) -> str:
    found = re.search('name="csrf" value="([0-9a-f]+)"', reply.text)
    assert found, reply.text[:500]
    return found[1]


def text_of(reply: httpx.Response) -> str:
    """What a reader reads, in one line."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", reply.text))


@asynccontextmanager
async def browser_of(stage: Stage, language: str = "en") -> AsyncIterator[Browser]:
    """Not signed in."""
    transport = httpx.ASGITransport(stage.app())
    headers = {"Accept-Language": language}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers=headers
    ) as client:
        yield Browser(client)


def add(stage: Stage, *rows: Any) -> None:
    """Straight into the ledger."""
    with writing(stage.books.engine) as session:
        for row in rows:
            session.add(row)
