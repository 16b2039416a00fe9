"""The marketplace as tests play it: signed callbacks, an order book, figures.

Signing is written out by hand here, from the specification, so that it can disagree with ours.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.callbacks import CallbackService, routes
from billing_sync.errors import OrderUnavailable
from billing_sync.figures import UsageFigure
from billing_sync.koogallery.order import Order
from billing_sync.link_tokens import UsageLinks
from billing_sync.settings import KooGallerySettings
from metering.catalogue import Catalogue, Package, PackageItem, Product, catalogue
from tests.fakes import FakeClock

ACCESS_KEY = "00000000-0000-4000-8000-000000000001"
SECRET = b"0123456789abcdef0123456789abcdef"
FRONT_END = "https://api.example.com"

CATALOGUE = catalogue(
    [
        Product(product_id="TOKENS", meter="tokens_total", unit=1000, routes=["chat"]),
        Product(product_id="TOKENS-YEAR", meter="tokens_total", unit=1000, routes=["chat"]),
        Product(product_id="IMAGES", meter="images", routes=["images"]),
        Product(
            product_id="PACK",
            package=Package(items=[PackageItem(of="TOKENS", quota=Decimal(100))]),
        ),
    ]
)


def vector(name: str) -> dict[str, Any]:
    """One published or derived vector of the protocol by its name."""
    found = json.loads(Path(__file__).with_name("vectors.json").read_text())
    return next(item for item in found if item["name"] == name)


def sign(body: bytes, timestamp: int, nonce: str, key: str = ACCESS_KEY) -> str:
    """The signature of spec §2.2, upper-case as the documentation prints it."""
    inner = hmac.digest(key.encode(), body, hashlib.sha256).hex()
    text = key + nonce + str(timestamp) + inner
    return hmac.digest(key.encode(), text.encode(), hashlib.sha256).hex().upper()


class FakeOrders:
    """An order book. `down` makes it unavailable."""

    def __init__(self) -> None:
        self.book: dict[tuple[str, str], Order] = {}
        self.down = False
        self.asked = 0

    def buy(
        self,
        order_id: str,
        product_id: str = "TOKENS",
        customer_id: str = "cust-1",
        *,
        number: int = 1,
        linear_value: int = 1,
        trial: bool = False,
        expires: int = 0,
    ) -> None:
        """A line of a paid order."""
        line = f"{order_id}-{number:06}"
        self.book[order_id, line] = Order(
            order_id,
            line,
            (product_id,) if product_id else (),
            charging_mode="ON_DEMAND",
            customer_id=customer_id,
            customer_name=f"Name of {customer_id}" if customer_id else "",
            linear_values={product_id: linear_value},
            trial=trial,
            expires=expires,
        )

    async def find(self, order_id: str, order_line_id: str) -> Order | None:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise OrderUnavailable("the order book is closed")
        return self.book.get((order_id, order_line_id))


class FakeFigures:
    """Figures by instance; `hangs` never answers."""

    def __init__(self) -> None:
        self.known: dict[str, list[UsageFigure]] = {}
        self.hangs = False

    async def for_instances(
        self, instance_ids: Sequence[str]
    ) -> Mapping[str, Sequence[UsageFigure]]:
        if self.hangs:
            await anyio.sleep_forever()
        return {i: self.known[i] for i in instance_ids if i in self.known}


class Marketplace:
    """KooGallery, one merchant and his production address, without a network between them."""

    def __init__(
        self,
        engine: Engine,
        products: Catalogue = CATALOGUE,
        pages: UsageLinks | None = None,
        **settings: Any,
    ) -> None:
        self.engine = engine
        self.clock = FakeClock()
        self.orders = FakeOrders()
        self.figures = FakeFigures()
        self.changes = 0
        self.service = CallbackService(
            engine=engine,
            settings=KooGallerySettings.model_validate({"access_key": ACCESS_KEY, **settings}),
            catalogue=products,
            orders=self.orders,
            figures=self.figures,
            secret=SECRET,
            front_end_url=FRONT_END,
            clock=self.clock,
            randomness=secrets.token_bytes,
            on_change=self._changed,
            figures_budget_s=0.05,
            pages=pages,
        )
        self.app = Starlette(routes=list(routes(self.service)))

    def _changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://isv") as client:
            yield client

    async def send(self, raw: bytes, *, path: str = "/koogallery", **query: str) -> httpx.Response:
        """Post these bytes, correctly signed unless the query says otherwise."""
        now, nonce = self.clock.now_ms(), secrets.token_hex(16)
        signed = {"signature": sign(raw, now, nonce), "timestamp": str(now), "nonce": nonce}
        async with self.client() as client:
            headers = {"Content-Type": "application/json;charset=utf8"}
            return await client.post(path, content=raw, params=signed | query, headers=headers)

    async def call(self, activity: str, **fields: object) -> dict[str, Any]:
        """One callback now; the reply's JSON."""
        body = dict(sorted({"activity": activity, **fields}.items()))
        reply = await self.send(json.dumps(body, separators=(",", ":")).encode())
        assert reply.status_code == 200
        answer: dict[str, Any] = reply.json()
        return answer

    async def create(self, order_id: str, line: int = 1, **fields: object) -> dict[str, Any]:
        """newInstance for a line of the order, with a fresh businessId."""
        body = {"orderId": order_id, "orderLineId": f"{order_id}-{line:06}"} | fields
        return await self.call("newInstance", businessId=secrets.token_hex(8), **body)

    async def bought(self, order_id: str, product_id: str = "TOKENS", buyer: str = "cust-1") -> str:
        """A provisioned instance's id."""
        self.orders.buy(order_id, product_id, buyer)
        answer = await self.create(order_id)
        assert answer["resultCode"] == "000000"
        return str(answer["instanceId"])
