"""The marketplace of the month: the simulator in this process, with signed callbacks to ours.

What a customer orders is tried until it is done, as the marketplace itself does; what concerns one
customer happens in its order.
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from metering.catalogue import Product
from metering.clock import Clock
from tallygate.month.scenario import Deed, What
from tallygate.simulator.app import build_app
from tallygate.simulator.settings import SimulatorSettings
from tallygate.simulator.times import format_compact_time

ACCESS_KEY: Final = "month-access-key"
AK: Final = "month-ak"
SK: Final = "month-sk"
_DONE: Final = "000000"
_INTERNAL: Final = "000005"
_CHANGE: Final = "RENEWAL_CHANGE"


class Market:
    """The simulator, asked over its own handles; `http` is the merchant's way to its open API."""

    def __init__(self, clock: Clock, production: httpx.AsyncBaseTransport) -> None:
        """`production` leads to the control plane's public application."""
        settings = SimulatorSettings(
            ACCESS_KEY, AK, SK, create_attempts=1, poll_attempts=2, poll_interval=0
        )
        app = build_app(settings, clock, production)
        self.transport = httpx.ASGITransport(app)
        self._http = httpx.AsyncClient(transport=self.transport, base_url="http://market/_sim")
        self.keys: dict[str, bytes] = {}  # of each customer
        self.products: dict[str, str] = {}  # of each instance, as it was bought
        self.refused = 0  # deeds that the merchant answered with a no
        self._latest: dict[tuple[str, str], str] = {}  # instance by customer and product
        self._orders: dict[Deed, str] = {}
        self._done: set[tuple[Deed, str]] = set()

    async def open(self, sold: tuple[Product, ...]) -> None:
        """Put everything on sale."""
        await self._call("PUT", "/settings", {"production_url": "http://merchant/koogallery"})
        await self._call("PUT", "/products", {"products": [_offer(p) for p in sold]})

    async def close(self) -> None:
        await self._http.aclose()

    async def do(self, deed: Deed) -> bool:
        """Do it; False when it has to be tried again later."""
        if deed.what is What.BUY:
            return await self._buy(deed)
        done = [await self._act(deed, product) for product in deed.goods]
        return all(done)

    async def _buy(self, deed: Deed) -> bool:
        if deed not in self._orders:
            expires = {"expire_time": format_compact_time(deed.expires_ms)}
            lines = [{"product_id": p, **(expires if deed.expires_ms else {})} for p in deed.goods]
            body = {"customer_id": deed.customer, "lines": lines}
            self._orders[deed] = (await self._call("POST", "/orders", body))["order_id"]
        opened = await self._call("POST", f"/orders/{self._orders[deed]}/open")
        for line in opened["instances"]:
            instance, product = line["instance_id"], line["product_id"]
            self.products[instance] = product
            self._latest[deed.customer, product] = instance
            app = (line["info"] or {}).get("appInfo", {})
            if "password" in app:
                self.keys[deed.customer] = app["password"].encode()
        return len(opened["instances"]) == len(deed.goods) and deed.customer in self.keys

    async def _act(self, deed: Deed, product: str) -> bool:
        instance = self._latest.get((deed.customer, product))
        if instance is None or (deed, instance) in self._done:
            return True
        action, body = _handle(deed)
        said = await self._call("POST", f"/instances/{instance}/{action}", body)
        code = _code(said)
        if code in ("", _INTERNAL):
            return False
        self._done.add((deed, instance))
        self.refused += code != _DONE
        return True

    async def collect(self) -> Mapping[str, Any]:
        """The marketplace's own validation, as it runs at minute 15."""
        found: dict[str, Any] = await self._call("POST", "/collect")
        return found

    async def fail(self, *pushes: str) -> None:
        """The next pushes fail in these ways."""
        faults = [{"kind": kind, "times": 1, "seconds": 0} for kind in pushes]
        await self._call("POST", "/faults", {"push": faults})

    async def records(self) -> list[dict[str, Any]]:
        """Every usage record as it came, and what became of it."""
        found: list[dict[str, Any]] = (await self._call("GET", "/sdrs"))["sdrs"]
        return found

    async def findings(self) -> list[dict[str, Any]]:
        """What the marketplace has to complain of."""
        found: list[dict[str, Any]] = (await self._call("GET", "/findings"))["findings"]
        return found

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        reply = await self._http.request(method, path, json=body)
        reply.raise_for_status()
        return reply.json()


def _handle(deed: Deed) -> tuple[str, dict[str, str] | None]:
    """The simulator's action and what it says besides."""
    if deed.what is What.UPGRADE:
        return "refresh", {"scene": _CHANGE, "productId": deed.to}
    return deed.what.value, None


def _code(said: Mapping[str, Any]) -> str:
    reply = said.get("reply")
    return str(reply.get("resultCode", "")) if isinstance(reply, dict) else ""


def _offer(product: Product) -> dict[str, object]:
    package = product.package
    return {
        "product_id": product.product_id,
        "kind": "ON_DEMAND" if package is None else "ON_DEMAND_PKG",
        "stop_before_excess": package is not None and package.stop_before_excess,
        "covers": [item.of for item in package.items] if package else [],
    }
