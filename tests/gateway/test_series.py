"""What several workers count, as one."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from gateway.series import Family, Number, Sum, family, metrics


def worker(calls: int, *, route: str = "chat", **gauges: int) -> list[Family]:
    """What one worker shows."""
    counter = CounterMetricFamily("gateway_requests", "Replies.", labels=("route",))
    counter.add_metric((route,), calls)
    shown: list[Metric] = [counter]
    shown += [GaugeMetricFamily(f"gateway_{name}", "Now.", value=n) for name, n in gauges.items()]
    build = InfoMetricFamily("gateway_build", "Version.", {"version": "1"})
    return [family(each) for each in (*shown, build)]


def values(sums: Sum) -> dict[tuple[str, ...], Number]:
    """Every number by sample and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in metrics(sums.families())
        for sample in metric.samples
    }


def test_workers_are_added_up() -> None:
    """Label by label; exactly, also beyond what a double holds."""
    sums = Sum()
    for calls in (1, 2**60):
        sums.add(worker(calls, open_exchanges=3), living=True)
    sums.add(worker(7, route="other"), living=True)
    found = values(sums)
    assert found["gateway_requests_total", "chat"] == 2**60 + 1
    assert found["gateway_requests_total", "other"] == 7
    assert found["gateway_open_exchanges",] == 6
    assert found["gateway_build_info", "1"] == 1


def test_the_dead_have_counted_and_are_not_there() -> None:
    """Counters stay, gauges go."""
    sums = Sum()
    sums.add(worker(5, open_exchanges=3), living=False)
    assert values(sums) == {("gateway_requests_total", "chat"): 5}


def test_some_gauges_are_those_of_the_worst_worker() -> None:
    """Two workers do not make a Redis that is twice away, nor a disk of twice the size."""
    sums = Sum()
    sums.add(worker(0, journal_writable=1, store_down=1, journal_bytes=7), living=True)
    sums.add(worker(0, journal_writable=0, store_down=1, journal_bytes=9), living=True)
    found = values(sums)
    assert found["gateway_journal_writable",] == 0
    assert found["gateway_store_down",] == 1
    assert found["gateway_journal_bytes",] == 9


def test_yes_and_no_are_numbers() -> None:
    """A page takes nothing else."""
    (group,) = family(GaugeMetricFamily("gateway_store_down", "Now.", value=True)).groups
    assert group.rows == [([], 1.0)]
    assert not isinstance(group.rows[0][1], bool)


def test_a_metric_of_another_kind_does_not_disturb() -> None:
    """Of another version, while a new one is rolled out."""
    sums = Sum()
    sums.add(worker(1), living=True)
    sums.add([Family("gateway_requests", "gauge", "Other.", [])], living=True)
    assert values(sums)["gateway_requests_total", "chat"] == 1
