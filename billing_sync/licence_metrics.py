"""Metrics of licences: how they stand, and what this process did for them."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from billing_sync.licences import LicenceState
from billing_sync.store.licence_listing import Standing


def attempts(results: Mapping[tuple[str, str], int]) -> Iterable[Metric]:
    """What this process did."""
    family = CounterMetricFamily(
        "billing_sync_licence_attempts",
        "Makers asked (step make) and licences uploaded (step upload), by result.",
        labels=["step", "result"],
    )
    for labels, count in dict(results).items():
        family.add_metric(labels, count)
    yield family


def standing(figures: Standing, now_ms: int) -> Iterable[Metric]:
    """How the ledger's licences and authorization codes stand."""
    states = GaugeMetricFamily("billing_sync_licences", "Licences by state.", labels=["state"])
    for state in LicenceState:
        states.add_metric([state.value], figures.states.get(state, 0))
    yield states
    codes = GaugeMetricFamily(
        "billing_sync_licence_codes", "Authorization codes known, by status.", labels=["status"]
    )
    for status, count in sorted(figures.codes.items()):
        codes.add_metric([status], count)
    yield codes
    age = (now_ms - figures.oldest) / 1000 if figures.oldest else 0
    yield GaugeMetricFamily(
        "billing_sync_licence_undelivered_age_seconds",
        "How long ago the oldest licence was asked for that is neither delivered nor refused.",
        value=max(age, 0),
    )
