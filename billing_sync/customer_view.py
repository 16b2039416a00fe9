"""Gathers what stands on a customer's page, within what its reader may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from billing_sync.access import Access
from billing_sync.asking import KeyPage
from billing_sync.burn_rate import LOOK_BACK_HOURS, days_to_empty
from billing_sync.key_ring import KeyRing
from billing_sync.models import Instance
from billing_sync.package_report import ItemFigures, PackageFigures
from billing_sync.questions import Cell, UsageFilter
from billing_sync.recent_requests import RecentRequest, RecentRequests
from billing_sync.records import value_of
from billing_sync.shown_limits import LimitsOf, ShownLimit
from billing_sync.store import customer_page as store
from billing_sync.store.customer_page import Standing
from billing_sync.store.worker import SqlWorker
from billing_sync.usage_series import By, Series, series_of, starts_of, windows_of
from billing_sync.usage_view import UsageView
from metering.catalogue import Catalogue, Product
from metering.clock import Clock
from metering.windows import HOUR_MS, Window

CALLS: Final = "requests"
_BY_CUSTOMER: Final = frozenset({"customer", "meter", "window"})
_BY_INSTANCE: Final = frozenset({"customer", "instance", "meter", "window"})


class ShownInstance(NamedTuple):
    """An instance; `used` is its lifetime figure in billing units, None for a package."""

    row: Instance
    name: str
    meter: str
    used: Decimal | None
    at_ms: int


class ShownItem(NamedTuple):
    """What a package holds for one billing item, in billing units. `share` used, in percent.

    `days` it lasts, None where nobody can say: because it is `idle`, or too new.
    """

    name: str
    quota: Decimal | None
    used: Decimal
    left: Decimal | None
    share: int = 0
    days: int | None = None
    idle: bool = True


class ShownPackage(NamedTuple):
    """A package; `over` when nothing more is used of it."""

    row: Instance
    name: str
    over: bool
    items: tuple[ShownItem, ...]


@dataclass(frozen=True)
class CustomerPage:
    """Everything a page shows. `live` is False when what Redis holds could not be added."""

    customer_id: str
    name: str
    series: Series
    at_ms: int
    live: bool
    instances: Sequence[ShownInstance]
    packages: Sequence[ShownPackage]
    recent: Sequence[RecentRequest]
    recent_meters: tuple[str, ...]
    limits: Sequence[ShownLimit]
    keys: Sequence[Mapping[str, Any]]


@dataclass
class CustomerView:
    """Reads pages. Raises SQLAlchemyError while the ledger is away, BadQuestion for too much usage."""

    sql: SqlWorker
    usage: UsageView
    ring: KeyRing
    recent: RecentRequests
    limits_of: LimitsOf
    catalogue: Catalogue
    clock: Clock
    zone: tzinfo

    async def page(self, access: Access, by: By) -> CustomerPage:
        """The page of somebody with this access."""
        now_ms = self.clock.now_ms()
        since = Window(now_ms // HOUR_MS - LOOK_BACK_HOURS)
        standing = await self.sql.read(
            partial(store.standing, access=access, catalogue=self.catalogue, since=since)
        )
        meters = self._meters(standing, access)
        starts = starts_of(by, now_ms, self.zone)
        used = await self.usage.usage(_question(access, windows_of(starts)))
        figures = await self.usage.for_instances(
            [row.id for row in standing.instances if not row.is_package]
        )
        return CustomerPage(
            customer_id=access.customer_id,
            name=standing.customer.name if standing.customer else "",
            series=series_of(used.cells, access, meters, by, starts),
            at_ms=used.at_ms,
            live=used.live,
            instances=[
                self._instance(row, figures.get(row.id, ()), now_ms) for row in standing.instances
            ],
            packages=[self._package(each, standing, now_ms) for each in standing.packages],
            recent=await self.recent.of(access, meters),
            recent_meters=meters,
            limits=self.limits_of(access.customer_id),
            keys=await self.keys(access),
        )

    async def cells(self, access: Access, by: By) -> Mapping[Cell, int]:
        """The hours of the same span, for a file."""
        starts = starts_of(by, self.clock.now_ms(), self.zone)
        wanted = _question(access, windows_of(starts))._replace(by=_BY_INSTANCE)
        return (await self.usage.usage(wanted)).cells

    async def keys(self, access: Access) -> Sequence[Mapping[str, Any]]:
        """The customer's keys but for revoked ones, to whoever sees all of him or may rotate them."""
        if access.instances is not None and not access.may_rotate:
            return []
        rows = await self.ring.page(KeyPage(access.customer_id, None, store.MOST))
        configured = await self.ring.configured(access.customer_id)
        return [row for row in [*rows, *configured] if row["status"] != "revoked"]

    def _meters(self, standing: Standing, access: Access) -> tuple[str, ...]:
        """What he is charged by; and of a whole customer his calls, which no instance need be charged."""
        products = (self.catalogue.get(row.product_id) for row in standing.instances)
        sold = sorted({p.meter for p in products if p is not None and p.meter})
        calls = [CALLS] if access.instances is None or not sold else []
        return tuple(dict.fromkeys([*sold, *calls]))

    def _instance(self, row: Instance, figures: Sequence[Any], now_ms: int) -> ShownInstance:
        product = self.catalogue.get(row.product_id)
        figure = figures[0] if figures else None
        return ShownInstance(
            row,
            _name_of(product, row.product_id),
            (product and product.meter) or "",
            figure.value if figure else None,
            figure.at_ms if figure else now_ms,
        )

    def _package(self, figures: PackageFigures, standing: Standing, now_ms: int) -> ShownPackage:
        row, over = figures.package, figures.is_over(now_ms)
        since_ms = max(row.started, now_ms - LOOK_BACK_HOURS * HOUR_MS)
        items = tuple(
            self._item(
                item,
                standing.burn.get((row.id, item.item), 0),
                over=over,
                since_ms=since_ms,
                now_ms=now_ms,
            )
            for item in figures.items
        )
        return ShownPackage(
            row, _name_of(self.catalogue.get(row.product_id), row.product_id), over, items
        )

    def _item(
        self, item: ItemFigures, burnt: int, *, over: bool, since_ms: int, now_ms: int
    ) -> ShownItem:
        name = _name_of(self.catalogue.get(item.item), item.item)
        used = value_of(item.used, item.unit)
        if item.quota is None or item.rest is None:
            return ShownItem(name, None, used, None)
        left = 0 if over else item.rest
        days = days_to_empty(left, burnt, since_ms=since_ms, now_ms=now_ms)
        return ShownItem(
            name,
            value_of(item.quota, item.unit),
            used,
            value_of(left, item.unit),
            min(100, item.used * 100 // max(item.quota, 1)),
            None if over else days,
            idle=burnt == 0,
        )


def _question(access: Access, windows: tuple[int, int]) -> UsageFilter:
    return UsageFilter(
        customer_id=access.customer_id,
        from_window=windows[0],
        to_window=windows[1],
        by=_BY_CUSTOMER if access.instances is None else _BY_INSTANCE,
    )


def _name_of(product: Product | None, product_id: str) -> str:
    return product.name if product is not None and product.name else product_id
