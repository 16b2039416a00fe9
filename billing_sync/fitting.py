"""Decides whether an instance may be changed to another product (spec §2.12). Pure.

A smaller package must hold what was used of the larger one; else the buyer would have paid for less
than he used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from billing_sync.packages import quota_in_meter_units
from billing_sync.records import value_of
from metering.catalogue import Catalogue, Product


@dataclass(frozen=True, slots=True)
class Held:
    """What there is: `used` by billing item is what a package gave, in the meter's unit."""

    is_package: bool
    linear_value: int
    used: Mapping[str, int]


def refusal(held: Held, target: Product | None, linear_value: int | None, terms: Catalogue) -> str:
    """Why not, in a sentence for the marketplace; empty when the change is possible.

    Without `linear_value` the quantity stays as it is.
    """
    if target is None:
        return "the product is not configured at the merchant"
    if target.is_package != held.is_package:
        return "a package and pay-per-use cannot be changed into each other"
    times = held.linear_value if linear_value is None else linear_value
    for item, used in sorted(held.used.items()):
        room = _room(target, item, times, terms)
        if used > room:
            unit = terms[item].unit if item in terms else 1
            return (
                f"{value_of(used, unit)} of {item} are used, and the product holds "
                f"{value_of(room, unit)}"
            )
    return ""


def _room(target: Product, item: str, times: int, terms: Catalogue) -> int:
    quotas = {each.of: each.quota for each in target.package.items} if target.package else {}
    unit = terms[item].unit if item in terms else 1
    return quota_in_meter_units(quotas[item], unit, times) if item in quotas else 0
