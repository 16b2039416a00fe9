"""What the demo sells, and how its customers buy it: real orders and signed callbacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx

from metering.catalogue import Package, PackageItem, Price, Product
from metering.usage import METER_UNITS

ROUTE: Final = "chat"
PRODUCTS: Final = (
    Product(
        product_id="DEMO-CALLS",
        name="Calls",
        routes=[ROUTE],
        meter="requests",
        price=Price(unit_price=Decimal("0.002")),
    ),
    Product(
        product_id="DEMO-IN",
        name="Input tokens",
        routes=[ROUTE],
        meter="tokens_in",
        unit=1000,
        price=Price(unit_price=Decimal("0.01")),
    ),
    Product(
        product_id="DEMO-OUT",
        name="Output tokens",
        routes=[ROUTE],
        meter="tokens_out",
        unit=1000,
        price=Price(unit_price=Decimal("0.03")),
    ),
    Product(
        product_id="DEMO-PKG",
        name="Package of output tokens",
        package=Package(items=[PackageItem(of="DEMO-OUT", quota=Decimal(100_000))]),
    ),
    Product(
        product_id="DEMO-STOP-S",
        name="Small package of input tokens, stop before excess",
        package=Package(
            items=[PackageItem(of="DEMO-IN", quota=Decimal(1))], stop_before_excess=True
        ),
    ),
    Product(
        product_id="DEMO-STOP-L",
        name="Large package of input tokens, stop before excess",
        package=Package(
            items=[PackageItem(of="DEMO-IN", quota=Decimal(100_000))], stop_before_excess=True
        ),
    ),
)
ITEMS: Final = {product.product_id: product for product in PRODUCTS if not product.is_package}
_BASKETS: Final = (
    ("示例一", ()),
    ("示例二", ("DEMO-PKG",)),
    ("示例三", ("DEMO-STOP-S", "DEMO-STOP-L")),
    ("Example Four", ()),
)
assert all(product.meter in METER_UNITS for product in ITEMS.values())  # noqa: S101  (a typo here)


@dataclass
class Buyer:
    """A customer after buying: his API key, and instance ids by product id."""

    customer_id: str
    key: str = field(repr=False)
    instances: dict[str, str]


class Shop:
    """The demo's side of the marketplace simulator."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = f"{url}/_sim"

    async def open(self, production_url: str) -> None:
        """Put the products on sale and tell the marketplace where callbacks go."""
        await self._call("PUT", "/settings", {"production_url": production_url})
        await self._call("PUT", "/products", {"products": [_offer(p) for p in PRODUCTS]})

    async def sell(self) -> list[Buyer]:
        """Each customer orders the pay-per-use items, then his packages."""
        return [
            await self._sell_to(f"domain-{number}", name, packages)
            for number, (name, packages) in enumerate(_BASKETS, start=1)
        ]

    async def _sell_to(self, customer_id: str, name: str, packages: Sequence[str]) -> Buyer:
        instances: dict[str, str] = {}
        key = ""
        for basket in (list(ITEMS), *[[package] for package in packages]):
            lines = [{"product_id": product_id} for product_id in basket]
            order = await self._call(
                "POST",
                "/orders",
                {"customer_id": customer_id, "customer_name": name, "lines": lines},
            )
            opened = await self._call("POST", f"/orders/{order['order_id']}/open", None)
            for line in opened["instances"]:
                instances[line["product_id"]] = line["instance_id"]
                key = line["info"]["appInfo"]["password"]
        return Buyer(customer_id, key, instances)

    async def usage_info(self, instance_id: str) -> list[dict[str, Any]]:
        """The usageInfo that queryInstance answers, over a signed callback."""
        said = await self._call("POST", f"/instances/{instance_id}/query", None)
        entries: list[dict[str, Any]] = said["reply"]["info"][0]["usageInfo"]
        return entries

    async def totals(self) -> dict[str, dict[str, str]]:
        """Pushed, collected and refused billing units per instance."""
        found: dict[str, dict[str, str]] = await self._call("GET", "/totals", None)
        return found

    async def collect(self) -> None:
        """The marketplace's own validation, as it runs at minute 15."""
        await self._call("POST", "/collect", None)

    async def records(self) -> list[dict[str, Any]]:
        """Every usage record the marketplace holds."""
        found: list[dict[str, Any]] = (await self._call("GET", "/sdrs", None))["sdrs"]
        return found

    async def findings(self) -> list[dict[str, Any]]:
        """What the marketplace would complain about."""
        found: list[dict[str, Any]] = (await self._call("GET", "/findings", None))["findings"]
        return found

    async def _call(self, method: str, path: str, body: object) -> Any:
        reply = await self._http.request(method, self._url + path, json=body, timeout=60)
        reply.raise_for_status()
        return reply.json()


def _offer(product: Product) -> dict[str, object]:
    package = product.package
    return {
        "product_id": product.product_id,
        "name": product.name,
        "kind": "ON_DEMAND" if package is None else "ON_DEMAND_PKG",
        "stop_before_excess": package is not None and package.stop_before_excess,
        "covers": [item.of for item in package.items] if package else [],
    }
