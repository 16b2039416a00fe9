"""How often a worker's configuration was read again, and when it was last taken over."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_RESULTS = ("ok", "refused")


class Reloads(Collector):
    """The start counts as the first time, without a reload. Times are ms since the epoch."""

    def __init__(self, now_ms: int) -> None:
        self._results: Counter[str] = Counter()
        self._last_ms = now_ms

    def taken_over(self, now_ms: int) -> None:
        """What was read is what is served."""
        self._results["ok"] += 1
        self._last_ms = now_ms

    def refused(self) -> None:
        """What was read is unusable, and nothing changed."""
        self._results["refused"] += 1

    def collect(self) -> Iterable[Metric]:
        results = CounterMetricFamily(
            "gateway_config_reloads", "Times the configuration was read again.", labels=("result",)
        )
        for result in _RESULTS:
            results.add_metric((result,), self._results[result])
        yield results
        yield GaugeMetricFamily(
            "gateway_config_last_success_timestamp_seconds",
            "When the configuration that is served was read.",
            value=self._last_ms / 1000,
        )
