"""A gateway that really runs, for tests: built as a worker builds it, its records kept in a list."""

import asyncio
import http.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from gateway.admission import Directory
from gateway.agents import Agents
from gateway.app import Public, build_public
from gateway.errors import NotCounted
from gateway.limiting import Limiting
from gateway.onlookers import NOBODY, Onlookers
from gateway.routing import RouteTable
from gateway.settings import Customer, GatewaySettings, Route, StaticInstance
from gateway.telemetry import Telemetry
from gateway.websocket_server import websocket_options
from metering.board import Open
from metering.catalogue import Product
from metering.usage import Account, UsageRecord
from tests.fakes import FakeClock
from tests.servers import eventually, serving

KEY = "sk-test"
TOKENS = Product(product_id="T", routes=["chat"], meter="tokens_total")
PACKAGE = Product.model_validate(
    {
        "product_id": "P",
        "package": {"items": [{"of": "T", "quota": 100}], "stop_before_excess": True},
    }
)


@dataclass
class Chosen:
    """What a gateway is where its settings do not say."""

    shell: str = "linerate"


chosen = Chosen()  # the fixture `shell` chooses


class Full(Exception):
    """The journal takes nothing more."""


@dataclass
class Kept:
    """A recorder that keeps records in order, until told that it is full.

    `shut` takes no new request; `open` are the requests without a record.
    """

    records: list[UsageRecord] = field(default_factory=list)
    full: bool = False
    shut: bool = False
    open: dict[int, Open] = field(default_factory=dict)
    begun: int = 0
    waits: bool = True
    synced: int = 0  # how often somebody waited until it was durable

    def begin(self, request: Open) -> int:
        if self.shut:
            raise NotCounted
        self.begun += 1
        self.open[self.begun] = request
        return self.begun

    def enter(self, request_id: str, account: Account, started_ms: int) -> int:
        return self.begin(Open(request_id, account.customer_id, account.route, started_ms))

    def forget(self, slot: int) -> None:
        del self.open[slot]

    def record(self, record: UsageRecord, slot: int) -> int:
        if self.full:
            raise Full
        del self.open[slot]
        self.records.append(record)
        return len(self.records)

    def when_durable(self, then: Callable[[], None]) -> bool:
        self.synced += 1
        return False

    async def durable(self) -> None:
        self.synced += 1


@dataclass
class Running:
    """A gateway under test."""

    port: int
    kept: Kept
    telemetry: Telemetry
    directory: Directory
    public: Public
    clock: FakeClock
    loop: Callable[[], asyncio.AbstractEventLoop]

    def in_loop(self, action: Callable[[], object]) -> None:
        """Do something where the gateway does everything, and return when it is done."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self.loop()).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def record(self) -> UsageRecord:
        """The only record, once there is one and no exchange is open any more."""
        eventually(lambda: self.kept.records and not self.telemetry.open_exchanges)
        assert len(self.kept.records) == 1, self.kept.records
        return self.kept.records[0]

    def quantities(self) -> dict[str, int]:
        """The values of the only record's quantities."""
        return {meter: quantity.value for meter, quantity in self.record().quantities.items()}

    def idle(self) -> None:
        """Return when no exchange is open."""
        eventually(lambda: not self.telemetry.open_exchanges)

    @contextmanager
    def connect(self) -> Iterator[http.client.HTTPConnection]:
        """A client's connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            yield connection
        finally:
            connection.close()

    def ask(
        self,
        method: str = "GET",
        target: str = "/v1/x",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = KEY,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own; the reply and its body."""
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        with self.connect() as connection:
            chunked = sent.get("Transfer-Encoding") == "chunked"
            connection.request(method, target, body, sent, encode_chunked=chunked)
            reply = connection.getresponse()
            return reply, reply.read()


@contextmanager
def gateway(
    *upstreams: str,
    settings: dict[str, Any] | None = None,
    limiting: Limiting | None = None,
    packages: tuple[Product, ...] = (),
    products: Sequence[Product] = (TOKENS,),
    agents: Agents | None = None,
    onlookers: Onlookers = NOBODY,
    **route: Any,
) -> Iterator[Running]:
    """A gateway with the route `chat` at `/v1` and the customer `cust-1` with instance `inst-1`.

    And one instance of each of the packages.
    """
    config = GatewaySettings(**({"shell": chosen.shell} | (settings or {})))
    served = {"name": "chat", "path": "/v1", "upstream": list(upstreams)} | route
    table = RouteTable([Route(**served)], [*products, *(packages or (PACKAGE,))])
    instances = [StaticInstance(id="inst-1", product="T")]
    instances += [StaticInstance(id=f"i-{p.product_id}", product=p.product_id) for p in packages]
    customer = Customer(id="cust-1", name="Example", keys=[SecretStr(KEY)], instances=instances)
    kept, telemetry = Kept(), Telemetry()
    directory = Directory(b"pepper", [customer])
    clock = FakeClock()
    others: dict[str, Any] = {"limiting": limiting, "agents": agents, "onlookers": onlookers}
    public = build_public(table, directory, kept, clock, config, telemetry, **others)
    sockets = websocket_options(config.websocket)
    loops: list[asyncio.AbstractEventLoop] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            loops.append(asyncio.get_running_loop())
        await public.app(scope, receive, send)

    with serving(app, http=public.protocol, **sockets) as port:
        yield Running(port, kept, telemetry, directory, public, clock, lambda: loops[0])
