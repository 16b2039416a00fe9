"""What Prometheus sees of the journal and of its way to Redis; read when it asks."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.caretaker import Caretaker
from gateway.recorder import Recorder
from metering.journal import Journal


class JournalMetrics(Collector):
    """Shows one worker's lane, flushes and helpers."""

    def __init__(self, lane: Journal, recorder: Recorder, caretaker: Caretaker) -> None:
        self._lane = lane
        self._recorder = recorder
        self._caretaker = caretaker

    def collect(self) -> Iterable[Metric]:
        lane, applier = self._lane, self._recorder.applier
        yield _counter("journal_records", "Records written.", lane.totals().records)
        yield _counter("journal_syncs", "Times the journal was made durable.", lane.syncs)
        yield _gauge("journal_open_requests", "Requests without a record yet.", lane.open_requests)
        yield _gauge("journal_writable", "1 while calls are let in.", lane.writable)
        yield _gauge("usage_backlog", "Records in memory that Redis lacks.", applier.backlog)
        yield _gauge(
            "partitions_behind", "Partitions being replayed from disk.", len(applier.behind)
        )
        yield _gauge("store_down", "1 while Redis counts as down.", self._recorder.breaker.open)
        yield _by_kind(self._recorder.breaker.failures)
        yield _counter("flush_batches", "Batches that Redis answered.", applier.batches)
        yield _counter("partition_resets", "New epochs seen.", applier.resets)
        yield _counter("helpers_started", "Helper processes started.", self._caretaker.started)


def _by_kind(failures: Mapping[str, int]) -> CounterMetricFamily:
    text = "Flushes that failed and were tried again."
    family = CounterMetricFamily("gateway_flush_failures", text, labels=("kind",))
    for kind, count in list(failures.items()):
        family.add_metric((kind,), count)
    return family


def _counter(name: str, help_text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"gateway_{name}", help_text, value=value)


def _gauge(name: str, help_text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gateway_{name}", help_text, value=value)
