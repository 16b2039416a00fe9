"""The merchant's products: which billing item charges which meter on which routes. Pure.

Both planes read the same YAML: the gateway to know what a call charges, the control plane to turn
quantities into billing units.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# What becomes of usage beyond the last stop-before-excess package: nobody is charged, or it is
# deducted from a package bought later, or it is charged as pay-per-use.
Overshoot = Literal["absorb", "next_package", "pay_per_use"]

AGENTS_GATEWAY: Final = "agents_gateway"

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _no_float(given: Any) -> Any:
    """Money never touches a float: YAML's 0.02 is one, "0.02" is not."""
    if isinstance(given, float):
        raise ValueError('write it in quotes, such as "0.02"')  # noqa: TRY004  (pydantic's way)
    return given


_AS_TEXT: Final = BeforeValidator(_no_float)
Money = Annotated[Decimal, _AS_TEXT, Field(ge=0, max_digits=20, decimal_places=10)]


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
    stop_mid_stream: bool = False
    overshoot: Overshoot = "absorb"


class Band(Strict):
    """One band of a ladder, in billing units: `up_to` belongs to it; the last band is open."""

    up_to: Annotated[Decimal, _AS_TEXT, Field(gt=0, max_digits=20)] | None = None
    price: Money


class Price(Strict):
    """For revenue views only; the marketplace charges by its own price (spec §8.2).

    `fixed` costs `unit_price` per billing unit. Of `bands`, `step` prices each part of what was used
    in an accumulation period by the band it falls into, `tier` a record's whole quantity.
    """

    mode: Literal["fixed", "step", "tier"] = "fixed"
    unit_price: Money | None = None
    bands: Annotated[list[Band], Field(max_length=100)] = []
    accumulate: Literal["none", "day", "month"] = "none"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"

    @model_validator(mode="after")
    def _whole(self) -> "Price":
        """Raises ValueError for what says too little or too much."""
        if self.mode == "fixed":
            self._only_unit_price()
        else:
            self._only_bands()
        if self.accumulate != "none" and self.mode != "step":
            raise ValueError("accumulate belongs to mode step; remove it")
        return self

    def _only_unit_price(self) -> None:
        if self.unit_price is None:
            raise ValueError('a fixed price needs unit_price, such as "0.02"')
        if self.bands:
            raise ValueError("bands belong to the modes step and tier; remove them or the mode")

    def _only_bands(self) -> None:
        if self.unit_price is not None:
            raise ValueError("unit_price belongs to mode fixed; give each band its price")
        if not self.bands or self.bands[-1].up_to is not None:
            raise ValueError("the last of the bands is open: give it a price and no up_to")
        bounds = [band.up_to for band in self.bands[:-1]]
        if None in bounds:
            raise ValueError("only the last of the bands may be without up_to")
        if any(low >= high for low, high in pairwise(filter(None, bounds))):
            raise ValueError("the bands' up_to must rise from band to band")


class Licence(Strict):
    """A licence product (spec §4): no call charges it, and buyers ask for licences of it.

    `kind`: `made` by our licence maker, or an authorization `code` that the marketplace gives out.
    `devices`: how many fingerprints may have a licence, for each unit bought; None: the maker decides.
    """

    kind: Literal["made", "code"] = "made"
    fingerprint: Literal["optional", "required"] = "optional"
    devices: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Product(Strict):
    """One KooGallery product id: a pay-per-use billing item, a package of such items, or a licence."""

    product_id: Identifier
    name: str = ""
    routes: list[str] = []
    meter: str | None = None
    unit: Annotated[int, Field(ge=1)] = 1
    cycle: Literal["hour", "day"] = "hour"
    # Unset, calls that the Agents gateway proves to be its own are charged by it, all others by the
    # merchant: nobody pays twice.
    charged_by: Literal["merchant", "agents_gateway"] | None = None
    price: Price | None = None
    package: Package | None = None
    licence: Licence | None = None

    @property
    def is_package(self) -> bool:
        return self.package is not None


Catalogue = Mapping[str, Product]

AGENTS_ACCOUNTS: Final = f"{AGENTS_GATEWAY}/"


def agents_account(product_id: str, customer_id: str) -> str:
    """Where use of a product is counted that the Agents gateway charges and no instance is known of.

    It stands in the place of an instance's id, so that nobody takes such use for forgotten.
    """
    return f"{AGENTS_ACCOUNTS}{product_id}/{customer_id}"


def catalogue(products: Iterable[Product]) -> Catalogue:
    """Products by id."""
    return {product.product_id: product for product in products}


def sold_on(products: Iterable[Product], route: str) -> tuple[Product, ...]:
    """The pay-per-use products that a call on `route` charges."""
    return tuple(p for p in products if not p.is_package and route in p.routes)
