"""Packages burning down: what each held, gave and has left, and how long that lasts at today's pace."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.asking import Page
from billing_sync.console import tones
from billing_sync.console.shell import Shell, Visit
from billing_sync.models import Instance
from billing_sync.package_report import ItemFigures, PackageFigures
from billing_sync.records import value_of
from billing_sync.store import package_burn, package_listing
from metering.windows import HOUR_MS, Window

PACE_HOURS: Final = 7 * 24
_PAGE: Final = 50
_LOW: Final = 20  # percent left
_SOON_DAYS: Final = 3


class Burning(NamedTuple):
    """One billing item of a package. Billing units; `share` is percent used, 0 to 100. `days` is how
    long it lasts at the pace of the last week, in tenths of a day; None where nothing is used."""

    item: str
    quota: Decimal | None
    used: Decimal
    left: Decimal | None
    overshoot: Decimal
    share: int
    days: Decimal | None
    tone: str


class Shown(NamedTuple):
    """A package and its items."""

    package: Instance
    items: Sequence[Burning]
    over: bool
    stops: bool


class Packages:
    """The page."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """One route."""
        return [self._shell.get("/packages", self._list)]

    async def _list(self, visit: Visit) -> Response:
        after, customer_id = visit.asked("after"), visit.asked("customer")
        package_id = visit.asked("instance")
        now_ms = self._shell.ports.clock.now_ms()
        page = Page(customer_id, package_id, None, after, _PAGE)
        catalogue = self._shell.ports.catalogue

        def look(ledger: Ledger) -> list[Shown]:
            found = package_listing.listed(ledger, page, catalogue)
            since = Window(now_ms // HOUR_MS - PACE_HOURS)
            gave = package_burn.given_since(ledger, [each.package.id for each in found], since)
            return [shown(each, gave, now_ms) for each in found]

        rows = await self._shell.read(look)
        return self._shell.page(
            visit,
            "packages.html",
            rows=rows,
            next=rows[-1].package.id if len(rows) == _PAGE else None,
            first=after is None,
            customer_id=customer_id,
            tones=tones.INSTANCES,
            catalogue=catalogue,
        )


def shown(figures: PackageFigures, gave: Mapping[tuple[str, str], int], now_ms: int) -> Shown:
    """`gave` is what (package, item) gave in the last week, in meter units."""
    package, over = figures.package, figures.is_over(now_ms)
    hours = min(PACE_HOURS, max((now_ms - package.started) // HOUR_MS, 1))
    items = [
        burning(item, 0 if over else gave.get((package.id, item.item), 0), hours, over=over)
        for item in figures.items
    ]
    stops = bool(figures.terms and figures.terms.stop_before_excess)
    return Shown(package, items, over, stops)


def burning(item: ItemFigures, gave: int, hours: int, *, over: bool) -> Burning:
    """Whole numbers until the very end: tenths of days are rounded down."""
    rest = 0 if over and item.rest else item.rest
    share = 0 if not item.quota else min(item.used * 100 // item.quota, 100)
    tenths = None if not gave or rest is None else rest * hours * 10 // (gave * 24)
    days = None if tenths is None else Decimal(tenths).scaleb(-1)
    return Burning(
        item.item,
        None if item.quota is None else value_of(item.quota, item.unit),
        value_of(item.used, item.unit),
        None if rest is None else value_of(rest, item.unit),
        value_of(item.overshoot, item.unit),
        share,
        days,
        _tone(share, days, over=over),
    )


def _tone(share: int, days: Decimal | None, *, over: bool) -> str:
    if over:
        return "quiet"
    if share >= 100:
        return "bad"
    soon = days is not None and days < _SOON_DAYS
    return "wait" if soon or share > 100 - _LOW else "good"
