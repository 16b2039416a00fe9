"""What is shown of a package: quota, used, left, lapsed and overshoot of each billing item. Pure.

Figures are billing units as decimal text, rounded down to four decimals. `left` is what may still be
used, frozen or not; `lapsed` is what was left when the package expired or was released. `overshoot`
is what the buyer used of the item beyond all his stop-before-excess packages, of which `waiting`
waits for a package bought later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from billing_sync.models import Instance
from billing_sync.records import value_of
from metering.catalogue import Package


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """Quantities in the meter's unit. `quota` is None where the product is sold no more."""

    item: str
    unit: int
    quota: int | None
    used_by: Mapping[str, int]
    overshoot: int = 0
    waiting: int = 0

    @property
    def used(self) -> int:
        return sum(self.used_by.values())

    @property
    def rest(self) -> int | None:
        return None if self.quota is None else max(self.quota - self.used, 0)


@dataclass(frozen=True, slots=True)
class PackageFigures:
    """A package and what became of its quotas."""

    package: Instance
    terms: Package | None
    items: list[ItemFigures]

    def is_over(self, now_ms: int) -> bool:
        """Released or expired: nothing more is used, late usage of its time apart."""
        ends = [each for each in (self.package.expires, self.package.released) if each]
        return any(each <= now_ms for each in ends)


def shown(figures: PackageFigures, now_ms: int) -> dict[str, object]:
    """One row of `/api/v1/packages`."""
    package, terms = figures.package, figures.terms
    return {
        "id": package.id,
        "customer_id": package.customer_id,
        "product_id": package.product_id,
        "order_id": package.order_id,
        "status": package.status,
        "started": package.started,
        "expires": package.expires,
        "released": package.released,
        "stop_before_excess": bool(terms and terms.stop_before_excess),
        "policy": terms.overshoot if terms and terms.stop_before_excess else None,
        "items": [_item(item, over=figures.is_over(now_ms)) for item in figures.items],
    }


def _item(item: ItemFigures, *, over: bool) -> dict[str, object]:
    return {
        "product_id": item.item,
        "quota": _units(item.quota, item.unit),
        "used": _units(item.used, item.unit),
        "left": _units(0 if over and item.rest else item.rest, item.unit),
        "lapsed": _units(item.rest if over else 0, item.unit),
        "overshoot": _units(item.overshoot, item.unit),
        "waiting": _units(item.waiting, item.unit),
        "used_by": {i: _units(q, item.unit) for i, q in sorted(item.used_by.items())},
    }


def _units(quantity: int | None, unit: int) -> str | None:
    return None if quantity is None else str(value_of(quantity, unit))
