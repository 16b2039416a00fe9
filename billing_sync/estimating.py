"""What use of today is worth under the products' prices: an estimate for people, no bill. Pure.

Use that packages gave is prepaid and left out. Values are cut to four decimals as records are; step
prices go on from what was used before in the same period, tiers and steps without a period price each
cycle by itself. Money is Decimal and exact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import NamedTuple

from billing_sync.pricing import EXACT, ZERO, charge
from billing_sync.records import value_of
from metering.catalogue import AGENTS_GATEWAY, Catalogue, Price, Product


class Used(NamedTuple):
    """Meter units that are to be paid for; window and instance are 0 and "" where many are one row."""

    product_id: str
    instance_id: str
    window: int
    quantity: int


@dataclass(frozen=True)
class Estimate:
    """Billing units and money by product, money by currency, and the products without a price."""

    units: dict[str, Decimal] = field(default_factory=dict)
    money: dict[str, Decimal] = field(default_factory=dict)
    by_currency: dict[str, Decimal] = field(default_factory=dict)
    unpriced: frozenset[str] = frozenset()


def is_plain(price: Price | None) -> bool:
    """Whether only the sum over all instances matters."""
    return price is None or price.mode == "fixed"


def accumulates(price: Price | None) -> bool:
    """Whether what was used before in the period matters."""
    return price is not None and price.mode == "step" and price.accumulate != "none"


def estimate(
    catalogue: Catalogue, used: Iterable[Used], before: Mapping[tuple[str, str], int]
) -> Estimate:
    """`before` is what (product, instance) used earlier in the period, in meter units."""
    parts: dict[tuple[str, str, int], int] = {}
    for row in used:
        product = catalogue.get(row.product_id)
        if product is None or product.charged_by == AGENTS_GATEWAY:
            continue
        window = row.window if _by_window(product) else 0
        place = (row.product_id, row.instance_id, window)
        parts[place] = parts.get(place, 0) + max(row.quantity, 0)
    found = Estimate()
    for (product_id, instance_id, _), quantity in parts.items():
        _add(found, catalogue[product_id], quantity, before.get((product_id, instance_id), 0))
    unpriced = frozenset(p for p in found.units if catalogue[p].price is None)
    return Estimate(found.units, found.money, found.by_currency, unpriced)


def _by_window(product: Product) -> bool:
    price = product.price
    return not (is_plain(price) or accumulates(price)) and product.cycle == "hour"


def _add(found: Estimate, product: Product, quantity: int, before: int) -> None:
    units, price = value_of(quantity, product.unit), product.price
    with localcontext(EXACT):
        found.units[product.product_id] = found.units.get(product.product_id, ZERO) + units
        if price is None:
            return
        cost = charge(price, units, value_of(before, product.unit))
        found.money[product.product_id] = found.money.get(product.product_id, ZERO) + cost
        found.by_currency[price.currency] = found.by_currency.get(price.currency, ZERO) + cost
