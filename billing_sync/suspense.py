"""Decides what of the usage in a drain matched no instance, although its route sells a product. Pure.

A record's total and its charges come in one drain (one apply, one partition), and a call is charged
to at most one instance of a product, always by the meter that is also in the total. So per customer,
route, meter, grade and hour,

    total of the customer = charged to instances of the product + unmatched

holds to the unit. Where a route sells several products by the same meter, they are alternatives to
whoever bought only some: unmatched is named for those that the customer holds, for the first that is
sold where he holds none, and what an instance of another one was charged for is matched.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from billing_sync.booking import UsageRow
from metering.catalogue import AGENTS_GATEWAY, Product, sold_on

ASSIGNED = "assigned"  # the mark of usage that was suspense before


class Use(NamedTuple):
    """What quantities are compared by. `origin` is the hour it was used in."""

    customer_id: str
    route: str
    meter: str
    grade: str
    origin: int


class Unmatched(NamedTuple):
    """Usage that no instance of the product was charged for; the names are those of the table."""

    customer_id: str
    product_id: str
    route: str
    meter: str
    grade: str
    origin: int
    quantity: int


@dataclass(frozen=True)
class Holding:
    """What a customer has bought: products that he still has, and every instance's product."""

    products: frozenset[str] = frozenset()
    product_of: Mapping[str, str] = field(default_factory=dict)


Sold = Mapping[tuple[str, str], tuple[str, ...]]  # (route, meter): the merchant's products
_NOTHING = Holding()


def sold(products: Iterable[Product], rows: Iterable[UsageRow]) -> Sold:
    """What the merchant sells on the routes of the rows, by meter."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    every = list(products)
    for route in {row.route for row in rows}:
        for product in sold_on(every, route):
            if product.charged_by != AGENTS_GATEWAY and product.meter is not None:
                place = (route, product.meter)
                found[place] = (*found.get(place, ()), product.product_id)
    return found


def undecided(rows: Iterable[UsageRow], sells: Sold) -> set[str]:
    """The customers whose holdings must be known: they used what several products are sold for."""
    return {row.customer_id for row in rows if len(sells.get((row.route, row.meter), ())) > 1}


def unmatched(
    rows: Iterable[UsageRow], sells: Sold, holdings: Mapping[str, Holding]
) -> list[Unmatched]:
    """What matched no instance, of all the rows of one drain."""
    total: dict[Use, int] = {}
    charged: dict[Use, dict[str, int]] = {}
    for row in rows:
        if (row.route, row.meter) not in sells:
            continue
        use = Use(row.customer_id, row.route, row.meter, row.grade, row.origin)
        if row.instance_id:
            mine = charged.setdefault(use, {})
            mine[row.instance_id] = mine.get(row.instance_id, 0) + row.quantity
        else:
            total[use] = total.get(use, 0) + row.quantity
    found = []
    for use, quantity in total.items():
        products = sells[use.route, use.meter]
        holding = holdings.get(use.customer_id, _NOTHING)
        for product_id, left in _left(quantity, charged.get(use, {}), products, holding):
            found.append(Unmatched(use.customer_id, product_id, *use[1:], left))
    return found


def _left(
    quantity: int, charged: Mapping[str, int], products: Sequence[str], holding: Holding
) -> Iterable[tuple[str, int]]:
    """Per product that the customer should be charged for: what none of its instances was."""
    held = [each for each in products if each in holding.products] or products[:1]
    of_product: dict[str, int] = {}
    others = 0
    for instance_id, amount in charged.items():
        product_id = holding.product_of.get(instance_id, "")
        if product_id in held:
            of_product[product_id] = of_product.get(product_id, 0) + amount
        else:
            others += amount
    for product_id in held:
        left = quantity - others - of_product.get(product_id, 0)
        if left > 0:
            yield product_id, left


def take(amounts: Sequence[int], quantity: int) -> list[int]:
    """How much of each amount, the first ones first, so that it is `quantity` together."""
    taken = []
    for amount in amounts:
        part = min(max(amount, 0), quantity)
        taken.append(part)
        quantity -= part
    return taken
