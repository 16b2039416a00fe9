"""The data plane's metrics: plain integers bumped on the path, summed up when Prometheus asks.

Labels are bounded by the configuration (routes, meters) and by our own words (codes, grades,
outcomes); never a customer. No global registry: each worker has its own.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from metering.quantities import Quantities, Tally, compact
from metering.usage import Outcome, UsageRecord

NO_ROUTE: Final = "-"  # the label of requests that matched none

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_Labels = tuple[str, ...]
_COMPLETE: Final = Outcome.COMPLETE


class Histogram:
    """Counts per bucket; the last one has no upper bound."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = _SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a value equal to a bound belongs below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts, as the exposition format wants them."""
        total, result = 0, []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            result.append((bound, float(total)))
        return result


class RouteFigures:
    """What is counted at every reply of one route."""

    __slots__ = ("answers", "upstream_seconds")

    def __init__(self) -> None:
        self.answers = [0] * 10  # by class of status
        self.upstream_seconds = Histogram()


class Telemetry:
    """Everything a worker counts about itself."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteFigures] = {}
        self.refusals: Counter[_Labels] = Counter()
        self.upstream_errors: Counter[_Labels] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.usage_tally = Tally()
        self.usage_missing: Counter[_Labels] = Counter()
        self.disconnects: Counter[_Labels] = Counter()
        self.whole = 0  # records of exchanges that ended well: nearly all
        self._records: Counter[_Labels] = Counter()
        self.open_exchanges = 0
        self.drains_active = 0
        self.drains_capped = 0
        self.uncounted = 0

    def of(self, route: str) -> RouteFigures:
        """The figures of a route, for whoever counts there often."""
        figures = self._routes.get(route)
        if figures is None:
            figures = self._routes[route] = RouteFigures()
        return figures

    def answered(self, route: str, status: int) -> None:
        """A reply head went to a client."""
        self.of(route).answers[status // 100] += 1

    def refused(self, route: str, status: int, code: str) -> None:
        """The gateway answered by itself."""
        self.answered(route, status)
        self.refusals[code,] += 1

    def upstream_answered(self, route: str, seconds: float) -> None:
        """A reply head came, `seconds` after the request was started."""
        self.of(route).upstream_seconds.observe(seconds)

    def upstream_failed(self, route: str, kind: str) -> None:
        """The upstream could not be used, or broke off inside its reply."""
        self.upstream_errors[route, kind] += 1

    def recorded(self, record: UsageRecord) -> None:
        """A usage record was handed to the recorder."""
        if record.outcome is _COMPLETE:
            self.whole += 1
        else:
            self._records[record.outcome,] += 1
        quantities = record.quantities
        if type(quantities) is not Quantities:
            quantities = compact(quantities)
        self.usage_tally.add(quantities)
        if quantities.kind.missing:
            self.usage_missing[record.route,] += 1

    # What is summed up only when somebody asks

    def requests(self) -> Mapping[_Labels, int]:
        """Replies by route and class of status."""
        return {
            (route, f"{hundreds}xx"): n
            for route, figures in self._routes.items()
            for hundreds, n in enumerate(figures.answers)
            if n
        }

    def upstream_seconds(self) -> Mapping[str, Histogram]:
        """Of each route that was ever answered."""
        return {
            route: figures.upstream_seconds
            for route, figures in self._routes.items()
            if figures.upstream_seconds.count
        }

    def bytes(self) -> Mapping[_Labels, int]:
        """Body bytes by direction."""
        return {("in",): self.bytes_in, ("out",): self.bytes_out}

    def records(self) -> Mapping[_Labels, int]:
        """Usage records by outcome."""
        whole: Mapping[_Labels, int] = {(_COMPLETE,): self.whole} if self.whole else {}
        return {**whole, **self._records}

    def usage(self) -> Mapping[_Labels, int]:
        """Readings by meter and grade."""
        readings: Counter[_Labels] = Counter()
        for kind, (count, _) in self.usage_tally.by_kind().items():
            for label in zip(kind.meters, kind.grades, strict=True):
                readings[label] += count
        return readings

    def usage_quantity(self) -> Mapping[_Labels, int]:
        """Sums by meter."""
        return {(meter,): value for meter, value in self.usage_tally.by_meter().items()}

    def registry(self) -> CollectorRegistry:
        """A registry that shows these numbers and nothing else."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Exposition(self))
        return registry


class _Exposition(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Metric]:
        t = self._telemetry
        yield _counter("requests", "Replies to clients.", ("route", "code"), t.requests())
        yield _counter("refusals", "Answers of the gateway's own.", ("code",), t.refusals)
        yield _counter("bytes", "Body bytes of clients.", ("direction",), t.bytes())
        yield _counter("usage", "Readings of a meter.", ("meter", "grade"), t.usage())
        yield _counter("usage_quantity", "Sum of a meter.", ("meter",), t.usage_quantity())
        yield _counter(
            "usage_missing", "Replies that lacked expected usage.", ("route",), t.usage_missing
        )
        yield _counter("disconnects", "Clients that left early.", ("route",), t.disconnects)
        yield _counter("records", "Usage records written.", ("outcome",), t.records())
        yield _counter(
            "upstream_errors", "Upstream failures.", ("route", "kind"), t.upstream_errors
        )
        yield _counter("uncounted", "Replies cut unrecorded.", (), {(): t.uncounted})
        yield _counter("drains_capped", "Drains given up.", (), {(): t.drains_capped})
        yield _gauge("drains_active", "Replies read on for nobody.", t.drains_active)
        yield _gauge("open_exchanges", "Exchanges now open.", t.open_exchanges)
        yield _upstream_seconds(t.upstream_seconds())
        yield InfoMetricFamily(
            "gateway_build", "The running version.", {"version": version("tallygate")}
        )


def _counter(
    name: str, help_text: str, labels: _Labels, values: Mapping[_Labels, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"gateway_{name}", help_text, labels=labels)
    for key, value in list(values.items()):
        family.add_metric(key, value)
    return family


def _gauge(name: str, help_text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gateway_{name}", help_text, value=value)


def _upstream_seconds(histograms: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "gateway_upstream_seconds", "Time to the upstream's reply head.", labels=("route",)
    )
    for route, histogram in list(histograms.items()):
        family.add_metric((route,), histogram.buckets(), histogram.sum)
    return family
