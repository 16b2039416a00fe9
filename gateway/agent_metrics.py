"""What Prometheus is told of calls through the Agents gateway: proofs, and ids that came again."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.agents import Verdict
from gateway.recent_ids import RecentIds


class AgentMetrics(Collector):
    """Of one worker."""

    def __init__(self, proofs: Counter[Verdict], recent: RecentIds) -> None:
        self._proofs = proofs
        self._recent = recent

    def collect(self) -> Iterable[Metric]:
        proofs = CounterMetricFamily(
            "gateway_agent_proofs", "Proofs of the Agents gateway.", labels=("verdict",)
        )
        for verdict, count in list(self._proofs.items()):
            proofs.add_metric((verdict,), count)
        yield proofs
        recent = self._recent
        yield CounterMetricFamily(
            "gateway_repeats", "Believed request ids that were counted before.", recent.repeats
        )
        yield CounterMetricFamily(
            "gateway_repeats_forgotten", "Ids dropped for want of room.", recent.forgotten
        )
        yield GaugeMetricFamily("gateway_repeats_watched", "Ids remembered.", len(recent))
