"""Metrics of packages: what is left of those that are nearest to their end, and how long it lasts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Engine

from billing_sync.packages import quota_in_meter_units
from billing_sync.store import package_burn
from billing_sync.store.engine import reading
from billing_sync.store.package_burn import Standing
from metering.catalogue import Catalogue
from metering.windows import HOUR_MS, Window, window_of

_DAY_HOURS: Final = 24
_LABELS: Final = ["package", "customer", "item"]


class Item(NamedTuple):
    """A quota of a package; `quota` and `left` in the meter's unit, `unit` of them a billing unit.

    `burnt` was given in the last `seconds`."""

    package: Standing
    item: str
    unit: int
    quota: int
    left: int
    burnt: int = 0
    seconds: float = 0.0

    @property
    def lasts(self) -> float | None:
        """Seconds until it is empty at the pace of the last day; None where nothing was used."""
        return self.left / self.burnt * self.seconds if self.burnt > 0 else None


@dataclass(frozen=True)
class PackageFigures:
    """Those nearest to their end, of how many."""

    items: list[Item] = field(default_factory=list)
    packages: int = 0


@dataclass(frozen=True)
class PackageLook:
    """Looks them up: the `most` items with the least left in relation to their quota."""

    engine: Engine
    catalogue: Catalogue
    most: int

    def look(self, now_ms: int) -> PackageFigures:
        """The figures. Raises SQLAlchemyError."""
        with reading(self.engine) as session:
            standing = package_burn.standing(session, now_ms)
            items = quotas(standing, package_burn.given(session), self.catalogue)
            items.sort(key=lambda item: (item.left / item.quota, item.package.package_id))
            shown = items[: self.most]
            since = Window(window_of(now_ms) - _DAY_HOURS + 1)
            ids = sorted({item.package.package_id for item in shown})
            lately = package_burn.given_since(session, ids, since)
        return PackageFigures(
            [_burning(item, lately, since, now_ms) for item in shown], len(standing)
        )


def quotas(
    standing: Iterable[Standing], given: Mapping[tuple[str, str], int], catalogue: Catalogue
) -> list[Item]:
    """Every quota of these packages, and what is left of it. Pure."""
    found = []
    for package in standing:
        sold = catalogue.get(package.product_id)
        terms = sold.package if sold else None
        for each in terms.items if terms else ():
            product = catalogue.get(each.of)
            unit = product.unit if product else 1
            quota = quota_in_meter_units(each.quota, unit, package.linear_value)
            left = max(quota - given.get((package.package_id, each.of), 0), 0)
            if quota > 0:
                found.append(Item(package, each.of, unit, quota, left))
    return found


def _burning(item: Item, lately: Mapping[tuple[str, str], int], since: int, now_ms: int) -> Item:
    begun_ms = max(since * HOUR_MS, item.package.started)
    burnt = lately.get((item.package.package_id, item.item), 0)
    return item._replace(burnt=burnt, seconds=max((now_ms - begun_ms) / 1000, 1.0))


def families(figures: PackageFigures) -> Iterable[Metric]:
    """The same as metrics; doubles only here."""
    yield GaugeMetricFamily(
        "billing_sync_packages", "Packages that may still be used.", value=figures.packages
    )
    quota, left, lasts = (
        GaugeMetricFamily(f"billing_sync_package_{name}", text, labels=_LABELS)
        for name, text in (
            ("quota_units", "Billing units a package was bought with, of those nearest their end."),
            ("left_units", "Billing units that are left of it."),
            ("lasts_seconds", "Until it is empty, at the pace of the last 24 hours."),
        )
    )
    for item in figures.items:
        labels = (item.package.package_id, item.package.customer_id, item.item)
        quota.add_metric(labels, float(Decimal(item.quota) / item.unit))
        left.add_metric(labels, float(Decimal(item.left) / item.unit))
        if item.lasts is not None:
            lasts.add_metric(labels, item.lasts)
    yield from (quota, left, lasts)
