"""Metrics of usage as the ledger has it: by meter and grade, by customer, and what was recorded.

They are facts of the ledger: they go on where they were when a process starts again, and every
control plane says the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.store import ledger, running_totals
from billing_sync.store.engine import reading, writing
from billing_sync.store.running_totals import Recorded
from billing_sync.top_customers import OTHER, Named, continued, named, others
from metering.catalogue import Catalogue
from metering.windows import window_of

_NAMED: Final = "metrics_customers"
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Figures:
    """What was looked up. `customers` by (customer, meter), `other` by meter."""

    meters: dict[tuple[str, str], int] = field(default_factory=dict)
    customers: dict[tuple[str, str], int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)


class UsageFigures:
    """Looks them up. `most` customers are named."""

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine = engine
        self._most = most

    def look(self, now_ms: int) -> Figures:
        """The figures. Raises SQLAlchemyError."""
        self._add_up()
        with reading(self._engine) as session:
            before = Named.of(running_totals.kept(session, _NAMED))
            meters = running_totals.by_meter(session)
            recorded = running_totals.by_product(session)
            day = now_ms // _DAY_MS
            after = self._named(session, before, day)
            used = running_totals.of_customers(session, sorted({*before.customers, *after}))
        totals: dict[str, int] = {}
        for (meter, _), quantity in meters.items():
            totals[meter] = totals.get(meter, 0) + quantity
        standing = before
        if (after, day) != (before.customers, before.day):
            standing = continued(before, after, used, totals, day)
            with writing(self._engine) as session:
                running_totals.keep(session, _NAMED, standing.text())
        shown = {key: n for key, n in used.items() if key[0] in set(after)}
        return Figures(meters, shown, others(standing, used, totals), recorded)

    def _named(self, session: Session, before: Named, day: int) -> tuple[str, ...]:
        """Who has a series; nobody is looked for while no place is free."""
        if before.day == day and len(before.customers) == self._most:
            return before.customers
        busiest = [c for c in running_totals.busiest(session, self._most) if c != OTHER]
        return named(before, busiest, self._most, day)

    def _add_up(self) -> None:
        """Windows that were closed since the last time."""
        with reading(self._engine) as session:
            closed = window_of(min(ledger.closed_through(session).values(), default=0))
            behind = running_totals.added_up(session) < closed
        if behind:
            with writing(self._engine) as session:
                running_totals.add_up_through(session, closed)


def families(figures: Figures, catalogue: Catalogue) -> Iterable[Metric]:
    """The same as metrics."""
    usage = CounterMetricFamily(
        "billing_sync_usage",
        "Usage of all customers in the ledger, in the meter's unit.",
        labels=["meter", "grade"],
    )
    for labels, quantity in sorted(figures.meters.items()):
        usage.add_metric(labels, quantity)
    yield usage
    customers = CounterMetricFamily(
        "billing_sync_customer_usage",
        "The same of the busiest customers, and of all others together.",
        labels=["customer", "meter"],
    )
    for key, quantity in sorted(figures.customers.items()):
        customers.add_metric(key, quantity)
    for meter, quantity in sorted(figures.other.items()):
        customers.add_metric((OTHER, meter), quantity)
    yield customers
    yield from _recorded(figures.recorded, catalogue)


def _recorded(recorded: Iterable[Recorded], catalogue: Catalogue) -> Iterable[Metric]:
    """Doubles only here, at the very end."""
    records = CounterMetricFamily(
        "billing_sync_records", "Usage records in the ledger.", labels=["product", "packaged"]
    )
    units = CounterMetricFamily(
        "billing_sync_record_units",
        "Billing units in these records.",
        labels=["product", "packaged"],
    )
    money = CounterMetricFamily(
        "billing_sync_revenue_estimate",
        "What pay-per-use records are worth, where their product has a fixed price.",
        labels=["product", "currency"],
    )
    for each in recorded:
        labels = (each.product_id, "yes" if each.packaged else "no")
        records.add_metric(labels, each.records)
        units.add_metric(labels, float(each.units))
        product = catalogue.get(each.product_id)
        price = product.price if product else None
        if price is not None and price.unit_price is not None and not each.packaged:
            worth = float(each.units * price.unit_price)
            money.add_metric((each.product_id, price.currency), worth)
    yield from (records, units, money)
