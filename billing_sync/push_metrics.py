"""Metrics of the outbox: records by state, deadlines at risk, what was held and why.

Prometheus knows only doubles: quantities and money are reckoned in Decimal and rounded here, at the
very end, where they are shown.
"""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from billing_sync.states import State
from billing_sync.tending import Tender
from billing_sync.watching import Risk


def states(counts: Mapping[str, int]) -> Metric:
    """How many records stand in each state."""
    family = GaugeMetricFamily("billing_sync_outbox", "Usage records by state.", labels=["state"])
    for state in State:
        family.add_metric([state.value], counts.get(state, 0))
    return family


def tended(tender: Tender) -> Iterable[Metric]:
    """What became of records before and after their push."""
    held = CounterMetricFamily(
        "billing_sync_records_held", "Usage records held by rule.", labels=["reason"]
    )
    for reason, count in tender.held.copy().items():
        held.add_metric([reason], count)
    yield held
    for name, text, value in (
        ("released", "Held usage records pushed because nobody decided.", tender.released),
        ("expired", "Usage records that became too old to be pushed.", tender.expired),
        ("collected", "Usage records assumed to be collected.", tender.collected),
    ):
        counter = CounterMetricFamily(f"billing_sync_records_{name}", text)
        counter.add_metric([], value)
        yield counter


def deadlines(risks: Sequence[Risk]) -> Iterable[Metric]:
    """What is not pushed, by class of deadline (hourly, daily, expiry)."""
    families = [
        GaugeMetricFamily(f"billing_sync_deadline_{name}", text, labels=["deadline"])
        for name, text in (
            ("records", "Unpushed usage records near their deadline or past it."),
            ("units", "Billing units in these records."),
            ("missed_records", "Those of them whose deadline is past."),
        )
    ]
    for risk in risks:
        values = (float(risk.records), float(risk.units), float(risk.passed))
        for family, value in zip(families, values, strict=True):
            family.add_metric([risk.kind.value], value)
    yield from families
    yield _seconds(risks)
    yield _money(risks)


def _seconds(risks: Sequence[Risk]) -> Metric:
    family = GaugeMetricFamily(
        "billing_sync_deadline_seconds",
        "Until the nearest deadline of an unpushed usage record; below zero when it is past.",
        labels=["deadline"],
    )
    for risk in risks:
        if risk.seconds is not None:
            family.add_metric([risk.kind.value], risk.seconds)
    return family


def _money(risks: Sequence[Risk]) -> Metric:
    family = GaugeMetricFamily(
        "billing_sync_deadline_money",
        "What these records are worth, where their product has a fixed price.",
        labels=["deadline", "currency"],
    )
    for risk in risks:
        for currency, money in sorted(risk.money.items()):
            family.add_metric([risk.kind.value, currency], float(money))
    return family
