"""Decides whether instances of a file fit what is configured and what the ledger holds. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from billing_sync.packages import quota_in_meter_units
from billing_sync.takeover_rows import Problem, Taken
from metering.catalogue import Catalogue, Product


class Verdict(StrEnum):
    """What becomes of a row."""

    NEW = "new"
    THERE = "there"  # as the file says it, from an earlier run or by itself


@dataclass(frozen=True, slots=True)
class Known:
    """An instance that the ledger holds; `opening` is what was taken over of it, in meter units.

    `changed` when it went on with another product since.
    """

    customer_id: str
    product_id: str
    order_id: str
    order_line_id: str
    source: str
    opening: Mapping[str, int]
    changed: bool = False


def quantity_of(used: Decimal, unit: int) -> int:
    """Meter units; a part of one counts whole, so that no total goes down."""
    return int((used * unit).to_integral_value(ROUND_CEILING))


def opening_of(row: Taken, catalogue: Catalogue, products: Mapping[str, str]) -> dict[str, int]:
    """What a row used before, in meter units, by pay-per-use instance.

    `products` tells the product of each instance. What a row of no product used is left out.
    """
    found = {}
    for instance_id, used in row.used:
        product = catalogue.get(products.get(instance_id, ""))
        if product is not None:
            found[instance_id] = quantity_of(used, product.unit)
    return {instance_id: quantity for instance_id, quantity in found.items() if quantity}


def judge(
    row: Taken,
    known: Known | None,
    products: Mapping[str, str],
    owners: Mapping[str, str],
    catalogue: Catalogue,
) -> Verdict | Problem:
    """Whether the row can be taken over. `products` and `owners` are those of all instances it may
    name: of the file and of the ledger."""
    product = catalogue.get(row.product_id)
    if product is None:
        return Problem(row.line, f"product {row.product_id} is not in `products:`; configure it")
    wrong = _wrong_use(row, product, products, owners, catalogue)
    if wrong:
        return Problem(row.line, wrong)
    if known is None:
        return Verdict.NEW
    differing = _differing(row, known, opening_of(row, catalogue, products))
    if differing:
        text = f"instance {row.instance_id} is there already, {differing}"
        return Problem(row.line, text)
    return Verdict.THERE


def wrong_times(rows: Iterable[Taken], now_ms: int) -> list[Problem]:
    """Starts in the future, ends before the start, and bills of what has not happened yet."""
    found = []
    for row in rows:
        if row.started > now_ms:
            found.append(Problem(row.line, "started is in the future"))
        if 0 < row.expires < row.started:
            found.append(Problem(row.line, "expires is before started"))
        if row.billed_until > now_ms:
            found.append(Problem(row.line, "billed_until is in the future"))
        if 0 < row.billed_until < row.started:
            found.append(Problem(row.line, "billed_until is before started"))
    return found


def _wrong_use(
    row: Taken,
    product: Product,
    products: Mapping[str, str],
    owners: Mapping[str, str],
    catalogue: Catalogue,
) -> str:
    if product.package is None:
        others = [each for each, _ in row.used if each != row.instance_id]
        return f"used names {others[0]}, but this is no package" if others else ""
    quotas = {item.of: item.quota for item in product.package.items}
    given: dict[str, int] = {}
    for instance_id, used in row.used:
        item = products.get(instance_id, "")
        if item not in quotas:
            return f"used names {instance_id}, which is no instance that the package is for"
        if owners.get(instance_id) != row.customer_id:
            return f"used names {instance_id}, which is another customer's"
        given[item] = given.get(item, 0) + quantity_of(used, catalogue[item].unit)
    for item, quantity in given.items():
        if quantity > quota_in_meter_units(quotas[item], catalogue[item].unit, row.linear_value):
            return f"more of {item} is used than the package holds"
    return ""


def _differing(row: Taken, known: Known, opening: Mapping[str, int]) -> str:
    if known.source != "koogallery":
        return "and belongs to the configuration's `customers:`"
    pairs = (
        ("customer_id", row.customer_id, known.customer_id),
        ("product_id", row.product_id, row.product_id if known.changed else known.product_id),
        ("order_id", row.order_id, known.order_id),
        ("order_line_id", row.order_line_id, known.order_line_id),
    )
    for name, said, there in pairs:
        if said != there:
            return f"with {name} {there or 'none'}"
    return "" if known.changed or opening == known.opening else "with other opening totals"
