"""How old what a worker knows of its customers is, and of how many."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.following import Following


class EntitlementMetrics(Collector):
    """Of one worker."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def collect(self) -> Iterable[Metric]:
        following = self._following
        fresh = following.freshness
        yield GaugeMetricFamily(
            "gateway_entitlements_age_seconds",
            "Since what is known of the customers was heard to be so.",
            value=fresh.age_s(following.loop_time()),
        )
        yield GaugeMetricFamily(
            "gateway_entitlements_stale",
            "Whether that is longer than entitlements_stale_after.",
            value=int(following.stale),
        )
        yield GaugeMetricFamily(
            "gateway_entitlements_from_disk",
            "Whether the host's file is all that was read so far.",
            value=int(fresh.from_disk),
        )
        yield GaugeMetricFamily(
            "gateway_entitlements_customers",
            "Customers the control plane told of.",
            value=following.count(),
        )
        yield GaugeMetricFamily(
            "gateway_entitlements_unreadable",
            "Values in Redis that are no entitlement.",
            value=following.unreadable,
        )
        yield CounterMetricFamily(
            "gateway_entitlement_file_failures",
            "Times the host's file could not be read or written.",
            value=following.file_failures,
        )
