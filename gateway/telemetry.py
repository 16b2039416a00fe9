"""The data plane's metrics: plain integers bumped on the path, summed up when Prometheus asks.

Labels are bounded by the configuration (routes, meters) and by our own words (codes, grades,
outcomes); never a customer. No global registry: each worker has its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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

from metering.histograms import OWN_SECONDS, Exemplars, Histogram
from metering.quantities import Quantities, Tally, compact
from metering.usage import Outcome, UsageRecord

NO_ROUTE: Final = "-"  # the label of requests that matched none

_TIMES: Final = {
    "request_seconds": "From a request's head to the last byte of its reply.",
    "first_byte_seconds": "From a request's head to the first byte of its reply.",
    "upstream_seconds": "Time to the upstream's reply head.",
    "overhead_seconds": "The gateway's own part of the time to the first byte, of one call in 16.",
}
_Labels = tuple[str, ...]
_COMPLETE: Final = Outcome.COMPLETE


def looked_at(request_id: str) -> bool:
    """Whether this is one of the calls whose own part of the time is taken: one in 16."""
    return request_id[-1:] == "0"


class RouteFigures:
    """What is counted at every reply of one route. Times are seconds.

    `usual` takes the upstream's time of a reply that came and went out at once: the whole request took
    as long, but for the gateway's own part, which is far below the buckets. `exemplars` are of the
    time of requests; None while nobody wants any.
    """

    __slots__ = (
        "_usual",
        "answers",
        "exemplars",
        "first_byte_seconds",
        "own_seconds",
        "request_seconds",
        "upstream_seconds",
        "usual",
    )

    def __init__(self, *, exemplars: bool = False) -> None:
        self.answers = [0] * 10  # by class of status
        self.upstream_seconds = Histogram()
        self.first_byte_seconds = Histogram()
        self.request_seconds = Histogram()
        self.own_seconds = Histogram(OWN_SECONDS)
        self._usual: list[float] = []
        self.usual: Callable[[float], None] = self._usual.append
        self.exemplars: Exemplars | None = {} if exemplars else None

    def note(self, request_id: str, seconds: float) -> None:
        """This request is an example of those that took so long; only where examples are wanted."""
        if self.exemplars is not None:
            self.exemplars[self.request_seconds.bucket_of(seconds)] = (request_id, seconds)

    def fold(self) -> None:
        """Put what was only noted where it belongs: done at each flush, and before it is shown."""
        if self._usual:
            usual = self.upstream_seconds.counted(self._usual)
            self._usual.clear()
            for each in (self.upstream_seconds, self.first_byte_seconds, self.request_seconds):
                each.take(*usual)
        for histogram in self.histograms().values():
            histogram.fold()

    def histograms(self) -> dict[str, Histogram]:
        """By the name of the metric."""
        return {
            "request_seconds": self.request_seconds,
            "first_byte_seconds": self.first_byte_seconds,
            "upstream_seconds": self.upstream_seconds,
            "overhead_seconds": self.own_seconds,
        }


class Telemetry:
    """Everything a worker counts about itself."""

    def __init__(self, *, exemplars: bool = False) -> None:
        self._exemplars = exemplars
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
        self.streams = 0
        self.drains_active = 0
        self.drains_capped = 0
        self.uncounted = 0

    def of(self, route: str) -> RouteFigures:
        """The figures of a route, for whoever counts there often."""
        figures = self._routes.get(route)
        if figures is None:
            figures = self._routes[route] = RouteFigures(exemplars=self._exemplars)
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

    def began(self, route: str, seconds: float) -> None:
        """The first byte of a reply goes out, `seconds` after its request came."""
        self.of(route).first_byte_seconds.observe(seconds)

    def over(self, route: str, request_id: str, seconds: float) -> None:
        """The last one went out, or the reply broke off."""
        figures = self.of(route)
        figures.request_seconds.observe(seconds)
        figures.note(request_id, seconds)

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

    def fold(self) -> None:
        """Put what was only noted where it belongs: soon it is cheaper, for it is still at hand."""
        for figures in self._routes.values():
            figures.fold()

    def routes(self) -> Mapping[str, RouteFigures]:
        """The figures of each route, up to date."""
        self.fold()
        return self._routes

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

    def registry(self, *others: Collector) -> CollectorRegistry:
        """A registry that shows these numbers and those of the others."""
        registry = CollectorRegistry(auto_describe=False)
        for collector in (_Exposition(self), *others):
            registry.register(collector)
        return registry


class _Exposition(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._version = version("tallygate")  # looked for on the disk

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
        yield _gauge("streams_open", "Replies on their way that did not come at once.", t.streams)
        yield from _times(t.routes())
        yield InfoMetricFamily("gateway_build", "The running version.", {"version": self._version})


def _counter(
    name: str, help_text: str, labels: _Labels, values: Mapping[_Labels, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"gateway_{name}", help_text, labels=labels)
    for key, value in list(values.items()):
        family.add_metric(key, value)
    return family


def _gauge(name: str, help_text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gateway_{name}", help_text, value=value)


def _times(routes: Mapping[str, RouteFigures]) -> Iterable[Metric]:
    for name, text in _TIMES.items():
        family = HistogramMetricFamily(f"gateway_{name}", text, labels=("route",))
        for route, figures in list(routes.items()):
            histogram = figures.histograms()[name]
            known = figures.exemplars if name == "request_seconds" else None
            if histogram.count:
                histogram.add_to(family, (route,), known)
        yield family
