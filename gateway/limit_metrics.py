"""What the limits of a worker come to, for Prometheus. Labels are our own words, never a customer."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.limiting import Limiting
from gateway.purse import PackagePurse, Purse, RatePurse

_KINDS: Final = ("package", "concurrent", "rate")


class LimitMetrics(Collector):
    """Of one worker."""

    def __init__(self, limiting: Limiting) -> None:
        self._desk = limiting.desk
        self._lending = limiting.lending

    def collect(self) -> Iterable[Metric]:
        desk = self._desk
        yield _counts("limit_refusals", "Calls over a limit.", ("limit", "reason"), desk.refusals)
        yield _counts(
            "limit_shadow_refusals",
            "Calls over a limit that only reports.",
            ("limit", "reason"),
            desk.shadow_refusals,
        )
        waits = {(how,): count for how, count in desk.waits.items()}
        yield _counts("limit_waits", "Calls that waited for their limit.", ("outcome",), waits)
        yield _counts("limit_asks", "Calls to the bank.", (), {(): self._lending.asks})
        purses = list(desk.active)
        leases = Counter((_kind(purse),) for purse in purses)
        yield _gauges(
            "limit_leases", "Leases held.", ("kind",), {(k,): leases[(k,)] for k in _KINDS}
        )
        waiting = {(): desk.waiting}
        yield _gauges("limit_waiting", "Calls that wait for their limit now.", (), waiting)
        away = {(): int(desk.away)}
        yield _gauges("limit_bank_away", "1 while nothing can be leased.", (), away)
        yield from _overshoot([p for p in purses if isinstance(p, PackagePurse)], desk.most_over)


def _overshoot(purses: Iterable[PackagePurse], most_over: Mapping[str, int]) -> Iterable[Metric]:
    bounds: Counter[tuple[str, ...]] = Counter()
    most = Counter({(meter,): bound for meter, bound in most_over.items()})
    for purse in purses:
        bounds[purse.meter,] += purse.overshoot_bound
        most[purse.meter,] = max(most[purse.meter,], purse.most_over)
    yield _gauges(
        "package_overshoot_bound",
        "What open calls may use beyond what they reserved, in the meter's unit.",
        ("meter",),
        bounds,
    )
    yield _gauges(
        "package_overshoot_bound_most",
        "The same of one package, the most it was since the start.",
        ("meter",),
        most,
    )


def _kind(purse: Purse) -> str:
    if isinstance(purse, PackagePurse):
        return "package"
    return "rate" if isinstance(purse, RatePurse) else "concurrent"


def _counts(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"gateway_{name}", text, labels=labels)
    for label, value in list(values.items()):
        family.add_metric(label, value)
    return family


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"gateway_{name}", text, labels=labels)
    for label, value in list(values.items()):
        family.add_metric(label, value)
    return family
