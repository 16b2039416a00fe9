"""A package burning down: what was left of each billing item at the end of every hour of a week."""

from collections.abc import Mapping
from typing import Any, Final

from sqlmodel import Session as Ledger

from billing_sync.asking import Page
from billing_sync.console import charting
from billing_sync.models import Instance
from billing_sync.package_report import ItemFigures
from billing_sync.records import value_of
from billing_sync.store import package_burn, package_listing
from billing_sync.web.formatting import Times
from metering.catalogue import Catalogue
from metering.windows import HOUR_MS, Window

HOURS: Final = 7 * 24


def burn_down(
    ledger: Ledger, package: Instance, catalogue: Catalogue, times: Times, now_ms: int
) -> dict[str, Any]:
    """The chart, a line for each billing item, in billing units."""
    end = now_ms // HOUR_MS + 1
    first = max(end - HOURS, package.started // HOUR_MS)
    (figures,) = package_listing.listed(ledger, Page(None, package.id, None, None, 1), catalogue)
    gave = package_burn.given_by_window(ledger, package.id, Window(first))
    series = []
    for item in figures.items:
        product = catalogue.get(item.item)
        label = product.name if product and product.name else item.item
        left = left_by_window(item, gave.get(item.item, {}), first, end)
        series.append((label, {at: value_of(n, item.unit) for at, n in left.items()}))
    return charting.hours(times, first, end, series, kind="lines")


def left_by_window(
    item: ItemFigures, gave: Mapping[int, int], first: int, end: int
) -> dict[int, int]:
    """Meter units left at the end of each window in [first, end), from what is left now backwards."""
    left: dict[int, int] = {}
    rest = item.rest or 0
    for window in range(end - 1, first - 1, -1):
        left[window] = rest
        rest += gave.get(window, 0)
    return left
