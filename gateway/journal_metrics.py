"""What Prometheus sees of the journal and of its way to Redis; read when it asks."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.caretaker import Caretaker
from gateway.recorder import Recorder
from metering.clock import Clock
from metering.journal import Journal


class JournalMetrics(Collector):
    """Shows one worker's lane, flushes and helpers."""

    def __init__(
        self, lane: Journal, recorder: Recorder, caretaker: Caretaker, clock: Clock
    ) -> None:
        self._lane = lane
        self._clock = clock
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
        yield from self._lags()
        yield _counter("flush_batches", "Batches that Redis answered.", applier.batches)
        yield _counter("partition_resets", "New epochs seen.", applier.resets)
        yield _counter("helpers_started", "Helper processes started.", self._caretaker.started)

    def _lags(self) -> Iterable[Metric]:
        now_ms = self._clock.now_ms()
        yield _gauge(
            "apply_lag_seconds",
            "How old the oldest record may be that Redis lacks.",
            max(now_ms - self._recorder.applied_ms, 0) / 1000,
        )
        oldest_ms = self._lane.tail.oldest_ms()
        yield _gauge(
            "journal_unbooked_age_seconds",
            "Age of the oldest record in memory that the ledger lacks.",
            max(now_ms - oldest_ms, 0) / 1000 if oldest_ms else 0,
        )


class DiskMetrics(Collector):
    """Of the disk that holds the journals of this host, as it was at the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = self._free = 0

    def look(self) -> None:
        """For a thread. Never raises."""
        with suppress(OSError):
            self._bytes = sum(_size(path) for path in self._folder.rglob("*"))
            self._free = shutil.disk_usage(self._folder).free

    def collect(self) -> Iterable[Metric]:
        yield _gauge("journal_bytes", "Size of the journals of this host.", self._bytes)
        yield _gauge("disk_free_bytes", "Room on their disk.", self._free)


def _size(path: Path) -> int:
    with suppress(OSError):  # turned over, or pruned
        found = path.lstat()
        return found.st_size if S_ISREG(found.st_mode) else 0
    return 0


def _by_kind(failures: Mapping[str, int]) -> CounterMetricFamily:
    text = "Flushes that failed and were tried again."
    family = CounterMetricFamily("gateway_flush_failures", text, labels=("kind",))
    for kind, count in list(failures.items()):
        family.add_metric((kind,), count)
    return family


def _counter(name: str, help_text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"gateway_{name}", help_text, value=value)


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gateway_{name}", help_text, value=value)
