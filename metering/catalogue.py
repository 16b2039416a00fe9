"""The merchant's products: which billing item charges which meter on which routes. Pure.

Both planes read the same YAML: the gateway to know what a call charges, the control plane to turn
quantities into billing units.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# What becomes of usage beyond the last stop-before-excess package: nobody is charged, or it is
# deducted from a package bought later, or it is charged as pay-per-use.
Overshoot = Literal["absorb", "next_package", "pay_per_use"]

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Strict(BaseModel):
    """Every section of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PackageItem(Strict):
    """One billing item a package holds quota for; `quota` is in billing units."""

    of: Identifier
    quota: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 12)]


class Package(Strict):
    """A prepaid package (按需套餐包)."""

    items: Annotated[list[PackageItem], Field(min_length=1)]
    stop_before_excess: bool = False
    overshoot: Overshoot = "absorb"


class Price(Strict):
    """For revenue views only; the marketplace charges by its own price."""

    mode: Literal["fixed", "step", "tier"] = "fixed"
    unit_price: Decimal | None = None
    currency: str = "CNY"


class Product(Strict):
    """One KooGallery product id: a pay-per-use billing item, or a package of such items."""

    product_id: Identifier
    name: str = ""
    routes: list[str] = []
    meter: str | None = None
    unit: Annotated[int, Field(ge=1)] = 1
    cycle: Literal["hour", "day"] = "hour"
    charged_by: Literal["merchant", "agents_gateway"] = "merchant"
    price: Price | None = None
    package: Package | None = None

    @property
    def is_package(self) -> bool:
        return self.package is not None


Catalogue = Mapping[str, Product]


def catalogue(products: Iterable[Product]) -> Catalogue:
    """Products by id."""
    return {product.product_id: product for product in products}


def sold_on(products: Iterable[Product], route: str) -> tuple[Product, ...]:
    """The pay-per-use products that a call on `route` charges."""
    return tuple(p for p in products if not p.is_package and route in p.routes)
