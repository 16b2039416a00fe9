"""Metrics of what was bought: instances, and what is left of packages nearest to their end, and how
long it lasts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import nsmallest
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Engine

from billing_sync.packages import quota_in_meter_units
from billing_sync.store import package_burn, running_totals
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
    """Those nearest to their end, of how many; and instances by (product, kind, status)."""

    items: list[Item] = field(default_factory=list)
    packages: int = 0
    instances: dict[tuple[str, str, str], int] = field(default_factory=dict)


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
            held = quotas(standing, package_burn.given(session), self.catalogue)
            shown = nsmallest(self.most, held, key=lambda item: item.left / item.quota)
            since = Window(window_of(now_ms) - _DAY_HOURS + 1)
            ids = sorted({item.package.package_id for item in shown})
            lately = package_burn.given_since(session, ids, since)
            instances = running_totals.instances(session)
        items = [_burning(item, lately, since, now_ms) for item in shown]
        return PackageFigures(items, len(standing), instances)


def quotas(
    standing: Iterable[Standing], given: Mapping[tuple[str, str], int], catalogue: Catalogue
) -> Iterator[Item]:
    """Every quota of these packages, and what is left of it. Pure."""
    sold: dict[tuple[str, int], list[tuple[str, int, int]]] = {}
    for package in standing:
        kind = (package.product_id, package.linear_value)
        if kind not in sold:  # very many packages are of few kinds
            sold[kind] = _sold(*kind, catalogue)
        for item, unit, quota in sold[kind]:
            left = max(quota - given.get((package.package_id, item), 0), 0)
            yield Item(package, item, unit, quota, left)


def _sold(product_id: str, times: int, catalogue: Catalogue) -> list[tuple[str, int, int]]:
    """Item, unit and quota in the meter's unit, of each that a package holds."""
    product = catalogue.get(product_id)
    held = product.package.items if product and product.package else ()
    units = {each.of: item.unit if (item := catalogue.get(each.of)) else 1 for each in held}
    amounts = [
        (each.of, units[each.of], quota_in_meter_units(each.quota, units[each.of], times))
        for each in held
    ]
    return [amount for amount in amounts if amount[2] > 0]


def _burning(item: Item, lately: Mapping[tuple[str, str], int], since: int, now_ms: int) -> Item:
    begun_ms = max(since * HOUR_MS, item.package.started)
    burnt = lately.get((item.package.package_id, item.item), 0)
    return item._replace(burnt=burnt, seconds=max((now_ms - begun_ms) / 1000, 1.0))


def families(figures: PackageFigures) -> Iterable[Metric]:
    """The same as metrics; doubles only here."""
    instances = GaugeMetricFamily(
        "billing_sync_instances", "Instances in the ledger.", labels=["product", "kind", "status"]
    )
    for labels, count in sorted(figures.instances.items()):
        instances.add_metric(labels, count)
    yield instances
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
