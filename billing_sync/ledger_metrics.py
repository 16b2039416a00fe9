"""Metrics of what the ledger holds now: records by state, deadlines, alerts, and what is on no bill."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync import alert_metrics, licence_metrics, market_metrics, push_metrics
from billing_sync.store import (
    acts,
    ahead,
    alert_listing,
    findings,
    licence_listing,
    outbox,
    suspense,
    usage,
)
from billing_sync.store.engine import reading
from billing_sync.watching import Risk, Terms, risks_at

_KINDS: Final = ("uncertain", "unexplained", "lost_lane")


class LedgerFigures(NamedTuple):
    """What was found. `oldest_end` of the `waiting` records is UTC ms."""

    states: dict[str, int]
    buckets: dict[str, int]
    findings: dict[str, int]
    suspense: dict[str, int]
    ahead: int
    waiting: int
    oldest_end: int
    risks: list[Risk]
    alerts: alert_listing.Standing
    licences: licence_listing.Standing
    market: market_metrics.Standing


def look(engine: Engine, terms: Terms, now_ms: int) -> LedgerFigures:
    """Look. Raises SQLAlchemyError."""
    with reading(engine) as session:
        waiting, oldest_end = usage.unpushed(session)
        return LedgerFigures(
            outbox.count_by_state(session),
            buckets(session),
            findings.count_by_kind(session),
            suspense.open_by_product(session),
            ahead.outstanding(session),
            waiting,
            oldest_end,
            risks_at(session, terms, now_ms),
            alert_listing.standing(session),
            licence_listing.standing(session),
            market_metrics.standing(session, terms.catalogue),
        )


def families(figures: LedgerFigures, now_ms: int) -> Iterable[Metric]:
    """The same as metrics."""
    yield push_metrics.states(figures.states)
    yield from push_metrics.deadlines(figures.risks)
    yield from alert_metrics.standing(figures.alerts, now_ms)
    yield from licence_metrics.standing(figures.licences, now_ms)
    yield from market_metrics.families(figures.market)
    unbilled = GaugeMetricFamily(
        "billing_sync_unbilled_usage", "Usage on no bill, in meter units.", labels=["bucket"]
    )
    for bucket, quantity in figures.buckets.items():
        unbilled.add_metric([bucket], quantity)
    yield unbilled
    named = GaugeMetricFamily(
        "billing_sync_findings", "What no count can explain, by kind.", labels=["kind"]
    )
    for kind in _KINDS:
        named.add_metric([kind], figures.findings.get(kind, 0))
    yield named
    unmatched = GaugeMetricFamily(
        "billing_sync_suspense",
        "Usage that matched no instance and is not assigned, in meter units, by product.",
        labels=["product"],
    )
    for product, quantity in figures.suspense.items():
        unmatched.add_metric([product], quantity)
    yield unmatched
    yield GaugeMetricFamily(
        "billing_sync_ahead",
        "Usage in records whose lanes have still to bring it again, in meter units.",
        value=figures.ahead,
    )
    yield _age(figures, now_ms)


def _age(figures: LedgerFigures, now_ms: int) -> Metric:
    age = (now_ms - figures.oldest_end) / 1000 if figures.waiting else 0
    return GaugeMetricFamily(
        "billing_sync_unpushed_age_seconds",
        "Age of the oldest usage record that is not pushed.",
        value=max(age, 0),
    )


def buckets(session: Session) -> dict[str, int]:
    """What no record carries, and what stands in records that reach no bill."""
    found = usage.buckets(session)
    for each in acts.unbilled(session):
        found[each.bucket] = found.get(each.bucket, 0) + each.quantity
    return found
