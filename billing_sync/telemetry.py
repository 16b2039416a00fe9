"""The control plane's metrics: plain numbers, read at scrape time by one collector."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing_sync import (
    alert_metrics,
    ledger_metrics,
    licence_metrics,
    package_metrics,
    push_metrics,
    reconciliation_metrics,
    usage_metrics,
)
from billing_sync.callbacks import CallbackService
from billing_sync.fresh import SLOW_MS, Fresh
from billing_sync.package_metrics import PackageLook
from billing_sync.runner import Runner
from billing_sync.settings import MetricsSettings
from billing_sync.usage_metrics import UsageFigures
from metering.clock import Clock
from metering.windows import window_of


@dataclass
class Telemetry:
    """What the collector reads. `projected` gives how many entitlements went to Redis; `kit_answers`
    are replies to the Kit by (interface, version, result code), `licences` what was done for those."""

    engine: Engine
    runner: Runner
    callbacks: CallbackService
    projected: Callable[[], int]
    clock: Clock
    kit_answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    licences: Mapping[tuple[str, str], int] = field(default_factory=dict)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    reports: Path | None = None  # where reconciliations write down what they found

    def __post_init__(self) -> None:
        catalogue, most = self.runner.catalogue, self.metrics
        packages = PackageLook(self.engine, catalogue, most.packages)
        self.usage = Fresh(UsageFigures(self.engine, most.customers).look, self.clock)
        self.packages = Fresh(packages.look, self.clock, SLOW_MS)

    def registry(self) -> CollectorRegistry:
        """A registry of its own, so that nothing else is exposed by accident."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self))
        return registry


class _Collector(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._folding = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        yield from self._pipeline()
        yield from self._windows()
        yield from self._callbacks()
        yield from self._ledger()
        reports = self._telemetry.reports
        if reports is not None:
            yield from reconciliation_metrics.families(reconciliation_metrics.read(reports))

    def _pipeline(self) -> Iterable[Metric]:
        runner = self._telemetry.runner
        drainer = runner.drainer
        for name, text, value in (
            ("runs", "Sync runs that ended well.", runner.runs),
            ("drains", "Set-asides committed to the ledger.", drainer.drains),
            ("usage_rows", "Rows added to the usage windows.", drainer.rows),
            ("records_made", "Usage records made.", runner.records_made),
            ("records_rejected", "Usage records rejected.", runner.outbox.rejected),
            ("findings_imported", "Findings taken into the ledger.", runner.importer.imported),
            ("projections", "Entitlements written to Redis.", self._telemetry.projected()),
            (
                "balances_told",
                "Customers of whose packages the lending bank was told.",
                drainer.teller.told if drainer.teller else 0,
            ),
            (
                "balances_differed",
                "Accounts of which the lending bank was found to know something else than the ledger.",
                drainer.teller.differed if drainer.teller else 0,
            ),
        ):
            yield _counter(f"billing_sync_{name}", text, value)
        yield from push_metrics.tended(runner.outbox.keeper)
        if runner.sender is not None:
            yield from alert_metrics.attempts(runner.sender)
        yield from licence_metrics.attempts(self._telemetry.licences)
        # Copies, because the event loop goes on counting while this thread reads.
        yield _labelled_counter(
            "billing_sync_failures",
            "Loops that failed and were repeated.",
            ("loop", "reason"),
            runner.failures.copy().items(),
        )
        yield _labelled_counter(
            "billing_sync_resets",
            "Partitions reset because Redis does not continue the ledger.",
            ("reason",),
            [((reason.name.lower(),), n) for reason, n in drainer.reasons.copy().items()],
        )
        yield _labelled_counter(
            "billing_sync_pushes",
            "Batches pushed, by outcome.",
            ("outcome",),
            [((outcome,), count) for outcome, count in runner.outbox.outcomes.copy().items()],
        )

    def _windows(self) -> Iterable[Metric]:
        runner = self._telemetry.runner
        closed, booked = runner.closed_through, runner.booked_through
        now_ms = self._telemetry.clock.now_ms()
        age = max(now_ms - closed, 0) if closed else 0
        for name, text, value in (
            (
                "closed_through_timestamp_seconds",
                "End of the last closed window, Unix time.",
                closed / 1000,
            ),
            (
                "ledger_lag_seconds",
                "How old the oldest usage may be that the ledger lacks.",
                max(now_ms - booked, 0) / 1000 if booked else 0,
            ),
            (
                "windows_open",
                "Hours whose windows are not closed, the current one included.",
                window_of(now_ms) - window_of(closed) + 1 if closed else 0,
            ),
            ("watermark_age_seconds", "How long ago the last closed window ended.", age / 1000),
            ("silent_lanes", "Lanes no window waits for any more.", runner.silent_lanes),
            (
                "stopped",
                "1 while nothing is recorded or pushed: the ledger was set back to a backup.",
                int(runner.halt.stop is not None),
            ),
            (
                "findings_unreadable",
                "Values among the findings in Redis that cannot be read.",
                runner.importer.unreadable,
            ),
            ("stuck_partitions", "Partitions that cannot be drained.", len(runner.drainer.stuck)),
            (
                "unrecorded",
                "Closed windows whose usage has no record: its product or meter is not configured.",
                sum(runner.left.copy().values()),
            ),
        ):
            yield GaugeMetricFamily(f"billing_sync_{name}", text, value=value)

    def _callbacks(self) -> Iterable[Metric]:
        service = self._telemetry.callbacks
        yield _labelled_counter(
            "billing_sync_callbacks",
            "Callbacks answered.",
            ("activity", "code"),
            service.answers.copy().items(),
        )
        yield _labelled_counter(
            "billing_sync_kit_calls",
            "Calls of the joint-operation Kit answered.",
            ("interface", "version", "code"),
            self._telemetry.kit_answers.copy().items(),
        )
        times = HistogramMetricFamily(
            "billing_sync_callback_seconds", "Time to answer callbacks.", labels=["activity"]
        )
        with self._folding:
            for activity, histogram in service.seconds.copy().items():
                histogram.add_to(times, (activity,))
        yield times
        yield _counter(
            "billing_sync_unknown_products",
            "Orders for products that are not configured.",
            service.unknown_products,
        )

    def _ledger(self) -> Iterable[Metric]:
        telemetry = self._telemetry
        now_ms, terms = telemetry.clock.now_ms(), telemetry.runner.outbox.keeper.terms
        up = GaugeMetricFamily("billing_sync_ledger_up", "1 when the ledger answers.")
        try:
            figures = ledger_metrics.look(telemetry.engine, terms, now_ms)
            used, packages = telemetry.usage.now(), telemetry.packages.now()
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from usage_metrics.families(used, telemetry.runner.catalogue)
        yield from package_metrics.families(packages)
        yield from ledger_metrics.families(figures, now_ms)


def _labelled_counter(
    name: str, text: str, labels: Sequence[str], counts: Iterable[tuple[Sequence[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family
