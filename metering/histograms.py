"""Histograms that cost the path of a request one append: values are sorted into buckets later."""

from bisect import bisect_right
from collections.abc import Callable
from math import fsum
from operator import add
from typing import Final

from prometheus_client.core import Exemplar, HistogramMetricFamily

SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
OWN_SECONDS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0)
Exemplars = dict[int, tuple[str, float]]  # by bucket: request id and value


class Histogram:
    """Counts per bucket; the last one has no upper bound. A value equal to a bound is below it.

    `observe` only keeps the value: whoever owns it calls `fold` now and then, or memory grows.
    """

    __slots__ = ("_bounds", "_counts", "_sum", "_waiting", "observe")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._waiting: list[float] = []
        self.observe: Callable[[float], None] = self._waiting.append

    def fold(self) -> None:
        """Sort what came into buckets. Others may note values meanwhile, but one folds at a time."""
        values = self._waiting[:]
        if values:
            del self._waiting[: len(values)]
            self.take(*self.counted(values))

    def counted(self, values: list[float]) -> tuple[list[int], float]:
        """How many values belong into each bucket, and their sum. It sorts them."""
        values.sort()
        counts, below = [], 0
        for bound in self._bounds:
            through = bisect_right(values, bound, below)
            counts.append(through - below)
            below = through
        return [*counts, len(values) - below], fsum(values)

    def take(self, counts: list[int], total: float) -> None:
        """Add what another histogram of the same bounds counted."""
        self._counts = [*map(add, self._counts, counts)]
        self._sum += total

    @property
    def sum(self) -> float:
        """Of all values."""
        self.fold()
        return self._sum

    @property
    def count(self) -> int:
        """How many values were counted."""
        self.fold()
        return sum(self._counts)

    def bucket_of(self, value: float) -> int:
        """Where a value belongs."""
        return sum(value > bound for bound in self._bounds)

    def add_to(
        self, family: HistogramMetricFamily, labels: tuple[str, ...], known: Exemplars | None = None
    ) -> None:
        """Show it: cumulative counts, as the exposition format wants them."""
        self.fold()
        total, buckets = 0, []
        said = known or {}
        for at, count in enumerate(self._counts):
            total += count
            bound = str(self._bounds[at]) if at < len(self._bounds) else "+Inf"
            example = said.get(at)
            if example is None:
                buckets.append((bound, total))
            else:
                exemplar = Exemplar({"request_id": example[0]}, example[1])
                buckets.append((bound, total, exemplar))  # type: ignore[arg-type]
        family.add_metric(labels, buckets, self._sum)
