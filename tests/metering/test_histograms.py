"""Times in buckets."""

from bisect import bisect_left
from math import fsum, isclose

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import HistogramMetricFamily

from metering.histograms import Histogram

BOUNDS = (0.1, 1.0, 10.0)


def shown(histogram: Histogram) -> dict[str, float]:
    """Cumulative counts by bound."""
    family = HistogramMetricFamily("x_seconds", "Help.", labels=("route",))
    histogram.add_to(family, ("chat",))
    return {s.labels["le"]: s.value for s in family.samples if s.name == "x_seconds_bucket"}


def test_a_value_at_a_bound_is_below_it() -> None:
    """And the last bucket has no bound."""
    histogram = Histogram(BOUNDS)
    for value in (0.1, 0.2, 1.0, 99.0):
        histogram.observe(value)
    assert shown(histogram) == {"0.1": 1, "1.0": 3, "10.0": 3, "+Inf": 4}


@given(st.lists(st.lists(st.floats(0, 20))))
def test_what_is_sorted_later_is_counted_as_if_at_once(rounds: list[list[float]]) -> None:
    """However often it is folded in between."""
    histogram = Histogram(BOUNDS)
    expected = [0] * 4
    for values in rounds:
        for value in values:
            histogram.observe(value)
            expected[bisect_left(BOUNDS, value)] += 1
            assert histogram.bucket_of(value) == bisect_left(BOUNDS, value)
        histogram.fold()
    whole = [value for values in rounds for value in values]
    assert list(shown(histogram).values()) == [sum(expected[: n + 1]) for n in range(4)]
    assert histogram.count == len(whole)
    assert isclose(histogram.sum, fsum(whole), abs_tol=1e-9)
