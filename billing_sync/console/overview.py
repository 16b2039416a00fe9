"""The first page: today's usage, what it is worth, what waits, and whether the numbers are proved."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import anyio
from anyio import to_thread
from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync import estimating
from billing_sync.console import charting
from billing_sync.console.ports import Ports, Proof
from billing_sync.console.shell import Shell, Visit
from billing_sync.errors import BadQuestion
from billing_sync.estimating import Estimate
from billing_sync.questions import Usage, UsageFilter
from billing_sync.states import UNPUSHED, State
from billing_sync.store import earning, findings, mappings, outbox, suspense, usage
from billing_sync.watching import Risk, risks_at
from billing_sync.web.formatting import Times
from metering.catalogue import AGENTS_GATEWAY, Catalogue
from metering.windows import HOUR_MS

_EVERY_MS: Final = 4_000  # asked by many, looked up once
_DAY_HOURS: Final = 24
_TOP: Final = 8
_EARNED_MS: Final = 30_000


class Standing(NamedTuple):
    """What the ledger says of its own pipeline."""

    states: Mapping[str, int]
    unpushed: int
    risks: list[Risk]
    findings: Mapping[str, int]
    suspense: Mapping[str, int]
    unmapped: int


@dataclass(frozen=True)
class Today:
    """Everything the page shows: usage by window, and by customer where they are not too many.
    `first` is the window at which the day began."""

    usage: Usage
    customers: Usage | None
    first: int
    meter: str
    standing: Standing
    estimate: Estimate | None
    proof: Proof | None

    @property
    def totals(self) -> dict[str, int]:
        """By meter, over all customers."""
        found: dict[str, int] = {}
        for cell, quantity in self.usage.cells.items():
            found[cell.meter] = found.get(cell.meter, 0) + quantity
        return dict(sorted(found.items()))

    def by_window(self, meter: str) -> dict[int, int]:
        """Of one meter."""
        cells = self.usage.cells.items()
        return {cell.window: quantity for cell, quantity in cells if cell.meter == meter}

    def top(self, meter: str) -> list[tuple[str, int]] | None:
        """The customers who used most of it; None where they are too many to look at."""
        if self.customers is None:
            return None
        cells = self.customers.cells.items()
        used = ((cell.customer_id, quantity) for cell, quantity in cells if cell.meter == meter)
        return heapq.nsmallest(_TOP, used, key=lambda one: (-one[1], one[0]))

    @property
    def active(self) -> int | None:
        """How many customers used anything."""
        if self.customers is None:
            return None
        return len({cell.customer_id for cell, n in self.customers.cells.items() if n})


class Overview:
    """The routes of the overview; its figures are kept for a moment."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._lock = anyio.Lock()
        self._kept: tuple[int, Today] | None = None
        self._earned: tuple[int, int, Estimate | None] | None = None

    def routes(self) -> list[Route]:
        """The page, and the part of it that is fetched again and again."""
        return [self._shell.get("", self._page), self._shell.get("/overview", self._part)]

    async def _page(self, visit: Visit) -> Response:
        return self._shown(visit, "overview.html", await self.today())

    async def _part(self, visit: Visit) -> Response:
        return self._shown(visit, "overview_part.html", await self.today())

    async def today(self) -> Today:
        """Today's figures, a few seconds old at most. Raises BadQuestion, SQLAlchemyError."""
        now_ms = self._shell.ports.clock.now_ms()
        async with self._lock:
            if self._kept is None or not 0 <= now_ms - self._kept[0] < _EVERY_MS:
                self._kept = now_ms, await self._look(now_ms)
            return self._kept[1]

    async def _look(self, now_ms: int) -> Today:
        ports = self._shell.ports
        first = Times(ports.zone).midnight(now_ms) // HOUR_MS
        by_window = UsageFilter(from_window=first, by=frozenset({"window", "meter"}))
        found = await ports.view.usage(by_window)
        customers = await self._customers(by_window)
        standing = await self._shell.read(lambda ledger: standing_of(ledger, ports, now_ms))
        proof = await to_thread.run_sync(ports.prover.last) if ports.prover else None
        estimate = await self._estimate(first, now_ms)
        meter = main_meter(ports.catalogue, found)
        return Today(found, customers, first, meter, standing, estimate, proof)

    async def _customers(self, wanted: UsageFilter) -> Usage | None:
        by_customer = wanted._replace(by=frozenset({"customer", "meter"}))
        try:
            return await self._shell.ports.view.usage(by_customer)
        except BadQuestion:  # too many
            return None

    async def _estimate(self, first: int, now_ms: int) -> Estimate | None:
        kept = self._earned
        if kept is None or kept[1] != first or not 0 <= now_ms - kept[0] < _EARNED_MS:
            ports = self._shell.ports
            estimate = await self._shell.read(lambda ledger: earned(ledger, ports, first))
            self._earned = kept = now_ms, first, estimate
        return kept[2]

    def _shown(self, visit: Visit, template: str, today: Today) -> Response:
        meters = today.totals
        asked = visit.asked("meter")
        meter = asked if asked in meters else today.meter
        chart = charting.hours(
            self._shell.pages.times,
            today.first,
            today.first + _DAY_HOURS,
            [(visit.texts.word("console.meter", meter), today.by_window(meter))],
        )
        return self._shell.page(
            visit,
            template,
            today=today,
            meter=meter,
            chart=chart,
            attention=attention(today.standing),
            catalogue=self._shell.ports.catalogue,
        )


def main_meter(catalogue: Catalogue, found: Usage) -> str:
    """The meter that is sold and used most today; requests where none is."""
    sold = {product.meter for product in catalogue.values() if product.meter}
    used: dict[str, int] = {}
    for cell, quantity in found.cells.items():
        used[cell.meter] = used.get(cell.meter, 0) + quantity
    candidates = [meter for meter in used if meter in sold] or ["requests"]
    return max(sorted(candidates), key=lambda meter: used.get(meter, 0))


def standing_of(ledger: Ledger, ports: Ports, now_ms: int) -> Standing:
    """What waits, and what nobody knows what to do with."""
    return Standing(
        outbox.count_by_state(ledger),
        usage.unpushed(ledger)[0],
        risks_at(ledger, ports.terms, now_ms),
        findings.count_by_kind(ledger),
        suspense.open_by_product(ledger),
        len(mappings.unmapped(ledger, ports.catalogue)),
    )


def earned(ledger: Ledger, ports: Ports, first: int) -> Estimate | None:
    """What today is worth so far; None where that is too much to look at."""
    catalogue = ports.catalogue
    sold = [
        product
        for product in catalogue.values()
        if not product.is_package and product.meter and product.charged_by != AGENTS_GATEWAY
    ]
    plain = {p.product_id for p in sold if estimating.is_plain(p.price)}
    others = {p.product_id for p in sold} - plain
    summed = earning.used(ledger, catalogue, plain, first, apart=False)
    apart = earning.used(ledger, catalogue, others, first, apart=True) if others else []
    if summed is None or apart is None:
        return None
    before = {}
    monthly = {p.product_id for p in sold if p.price and p.price.accumulate == "month"}
    if monthly:
        month = month_start(Times(ports.zone), first)
        before = earning.before(ledger, catalogue, monthly, month, first)
    return estimating.estimate(catalogue, [*summed, *apart], before)


def month_start(times: Times, first: int) -> int:
    """The window at which the month of this window began."""
    day = int(times.day(first * HOUR_MS)[-2:])
    return times.midnight((first - (day - 1) * _DAY_HOURS) * HOUR_MS + HOUR_MS) // HOUR_MS


def attention(standing: Standing) -> list[dict[str, Any]]:
    """What a person should look at, the most urgent first."""
    states, passed = standing.states, sum(risk.passed for risk in standing.risks)
    at_risk = sum(risk.records for risk in standing.risks)
    rows = (
        ("passed", passed, "bad", "/console/records?state=pending"),
        ("at_risk", at_risk, "wait", "/console/records?state=pending"),
        ("rejected", states.get(State.REJECTED, 0), "bad", "/console/records?state=rejected"),
        ("held", states.get(State.HELD, 0), "wait", "/console/records?state=held"),
        ("uncertain", sum(standing.findings.values()), "info", "/console/suspense#uncertain"),
        ("suspense", sum(n > 0 for n in standing.suspense.values()), "info", "/console/suspense"),
        ("unmapped", standing.unmapped, "wait", "/console/products"),
    )
    return [
        {"what": what, "count": count, "tone": tone, "href": href}
        for what, count, tone, href in rows
        if count
    ]


def money_at_risk(risks: list[Risk]) -> dict[str, Decimal]:
    """By currency, over all deadlines."""
    found: dict[str, Decimal] = {}
    for risk in risks:
        for currency, amount in risk.money.items():
            found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def waiting(states: Mapping[str, int]) -> int:
    """Records that are still to be pushed."""
    return sum(states.get(state, 0) for state in UNPUSHED)
