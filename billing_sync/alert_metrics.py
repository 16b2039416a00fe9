"""Metrics of alerts: thresholds that were passed, and what became of telling it."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from billing_sync.alert_sending import AlertSender
from billing_sync.alerts import DeliveryState
from billing_sync.store.alert_listing import Standing


def attempts(sender: AlertSender) -> Iterable[Metric]:
    """What this process did."""
    made = CounterMetricFamily(
        "billing_sync_alert_attempts",
        "Alerts posted to webhooks, by result.",
        labels=["webhook", "result"],
    )
    for labels, count in sender.results.copy().items():
        made.add_metric(labels, count)
    yield made
    given_up = CounterMetricFamily(
        "billing_sync_alerts_given_up", "Deliveries of alerts that wait for a person."
    )
    given_up.add_metric([], sender.given_up)
    yield given_up


def standing(figures: Standing, now_ms: int) -> Iterable[Metric]:
    """How the ledger's alerts stand."""
    raised = GaugeMetricFamily(
        "billing_sync_alerts",
        "Billing items of packages that passed a threshold, in percent of their quota.",
        labels=["threshold"],
    )
    for threshold, count in sorted(figures.raised.items()):
        raised.add_metric([str(threshold)], count)
    yield raised
    deliveries = GaugeMetricFamily(
        "billing_sync_alert_deliveries", "Alerts on their way to webhooks.", labels=["state"]
    )
    for state in DeliveryState:
        deliveries.add_metric([state.value], figures.deliveries.get(state, 0))
    yield deliveries
    age = (now_ms - figures.oldest) / 1000 if figures.oldest else 0
    yield GaugeMetricFamily(
        "billing_sync_alert_unsent_age_seconds",
        "How long ago the oldest alert was raised that is still to be sent.",
        value=max(age, 0),
    )
