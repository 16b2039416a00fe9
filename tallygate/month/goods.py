"""What the merchant of the month sells, and what its customers have in their baskets. Pure.

Units are chosen so that nothing divides evenly: what is below four decimals is carried.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from gateway.routing import RouteTable, ServedRoute
from gateway.settings import Route
from metering.catalogue import Package, PackageItem, Product
from tallygate.month.terms import Features

CHAT: Final = "chat"
IMAGES: Final = "images"
_ROUTES: Final = tuple(
    Route(name=name, path=f"/{name}", upstream=["http://upstream.invalid"])
    for name in (CHAT, IMAGES)
)


def _item(product_id: str, route: str, meter: str, unit: int = 1, **more: object) -> Product:
    given = {"product_id": product_id, "routes": [route], "meter": meter, "unit": unit}
    return Product.model_validate({**given, **more})


def _package(product_id: str, *, stop: bool = False, **quotas: int) -> Product:
    """`quotas` are billing units by item; `_` stands for `-`."""
    items = [PackageItem(of=of.replace("_", "-"), quota=Decimal(q)) for of, q in quotas.items()]
    return Product(product_id=product_id, package=Package(items=items, stop_before_excess=stop))


_HOURLY: Final = (
    _item("CALLS", CHAT, "requests"),
    _item("IN", CHAT, "tokens_in", 1000),
    _item("OUT", CHAT, "tokens_out", 30_000),
    _item("OUT-PLUS", CHAT, "tokens_out", 30_000),  # what OUT is upgraded to
    _item("PAGES", IMAGES, "images", 7),
)
_PACKAGES: Final = (
    _package("PACK-OUT", OUT=2),
    _package("PACK-BOTH", OUT=1, CALLS=100),
    _package("STOP-IN", stop=True, IN=12),
    _package("STOP-IN-L", stop=True, IN=200),
)
_DAILY: Final = (_item("SCANS", IMAGES, "images", 11, cycle="day"),)
_AGENTS: Final = (_item("TOOLS", CHAT, "requests", charged_by="agents_gateway"),)

BASKETS: Final[Sequence[tuple[str, ...]]] = (
    ("CALLS",),
    ("OUT",),
    ("IN", "OUT"),
    ("CALLS", "IN", "OUT"),
    ("IN",),
    ("PAGES",),
    ("OUT", "PAGES"),
)
ORDINARY: Final = ("PACK-OUT", "PACK-BOTH")
STOPPING: Final = ("STOP-IN", "STOP-IN-L")


def products(features: Features) -> tuple[Product, ...]:
    """Everything on sale."""
    daily = _DAILY if features.daily else ()
    agents = _AGENTS if features.agents else ()
    return (*_HOURLY, *daily, *agents, *_PACKAGES)


def baskets(features: Features) -> Sequence[tuple[str, ...]]:
    """What a customer may begin with."""
    daily = (("SCANS",), ("IN", "SCANS")) if features.daily else ()
    agents = (("CALLS", "TOOLS"),) if features.agents else ()
    return (*BASKETS, *daily, *agents)


def covers(basket: Sequence[str], sold: Sequence[Product], package_id: str) -> bool:
    """Whether the package holds quota for anything in the basket."""
    terms = next(p.package for p in sold if p.product_id == package_id)
    return terms is not None and any(item.of in basket for item in terms.items)


def routes(sold: Sequence[Product]) -> dict[str, ServedRoute]:
    """The routes of the gateways by name."""
    return {route.name: route for route in RouteTable(_ROUTES, sold).routes}
