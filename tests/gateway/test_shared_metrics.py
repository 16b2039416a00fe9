"""Whichever worker is asked, it answers for all."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families

from gateway.shared_metrics import SharedMetrics
from gateway.telemetry import Telemetry

open_metrics: Any = parser.text_string_to_metric_families

OPEN = "application/openmetrics-text; version=1.0.0"


class Counting:
    """A worker that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily("gateway_calls", "Calls.", value=self.calls)


def seen(metrics: SharedMetrics, name: str = "gateway_calls_total") -> float:
    """One number as a scrape finds it."""
    metrics.publish()
    return shown(metrics, name)


def shown(metrics: SharedMetrics, name: str = "gateway_calls_total") -> float:
    """The same of what was published last."""
    text, _ = metrics.text("")
    families = text_string_to_metric_families(text.decode())
    return {s.name: s.value for family in families for s in family.samples}[name]


def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    """Those that live and those that do not, and nothing goes back when one starts again."""
    counting = [Counting(), Counting()]
    workers = [
        SharedMetrics(tmp_path / "journal", f"w{n}", each.collect)
        for n, each in enumerate(counting)
    ]
    counting[0].calls, counting[1].calls = 3, 4
    workers[1].publish()
    assert seen(workers[0]) == 7
    assert seen(workers[1], "gateway_workers") == 2
    counting[1].calls = 6
    workers[1].close()
    assert seen(workers[0]) == 9
    assert seen(workers[0], "gateway_workers") == 1
    again = SharedMetrics(tmp_path / "journal", "w2", Counting().collect)
    assert seen(again) == 9
    workers[0].close()
    again.close()
    alone = SharedMetrics(tmp_path / "journal", "w3", Counting().collect)
    assert seen(alone) == 9


@pytest.mark.anyio
async def test_published_in_steps_nothing_goes_back(tmp_path: Path) -> None:
    """A scrape comes between two steps: what it showed stays."""
    counting = Counting()

    def collect() -> Iterable[Metric]:
        yield from counting.collect()
        time.sleep(0.001)  # as long as a step may take
        yield GaugeMetricFamily("gateway_other", "Now.", value=0)

    metrics = SharedMetrics(tmp_path / "journal", "w", collect)
    counting.calls = 1
    async with anyio.create_task_group() as group:
        group.start_soon(metrics.publish_slowly)
        await anyio.lowlevel.checkpoint()
        counting.calls = 2
        assert seen(metrics) == 2
    assert shown(metrics) == 2
    counting.calls = 3
    await metrics.publish_slowly()
    assert shown(metrics) == 3


def test_without_room_a_worker_speaks_for_itself(tmp_path: Path) -> None:
    """A folder that cannot be made is no reason not to serve."""
    (tmp_path / "file").write_text("")
    counting = Counting()
    metrics = SharedMetrics(tmp_path / "file" / "journal", "w", counting.collect)
    counting.calls = 5
    assert seen(metrics) == 5
    metrics.close()


def test_a_collector_that_fails_stops_nobody(tmp_path: Path) -> None:
    """What was published last is shown."""

    def fails() -> Iterable[Metric]:
        raise RuntimeError

    metrics = SharedMetrics(tmp_path / "journal", "w", fails)
    metrics.publish()
    assert metrics.text("")[0] == b""


def test_openmetrics_where_it_is_asked_for(tmp_path: Path) -> None:
    """Negotiated; a version that is none gets plain text."""
    metrics = SharedMetrics(tmp_path / "journal", "w", Counting().collect)
    metrics.publish()
    text, content_type = metrics.text(OPEN)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert next(family.name for family in open_metrics(text.decode())) == "gateway_calls"
    for accept in (
        "",
        "*/*",
        "text/plain",
        "application/openmetrics-text; version=x.y",
        "é" * 9999,
    ):
        text, content_type = metrics.text(accept)
        assert content_type.startswith("text/plain")
        assert b"# EOF" not in text


def test_exemplars_only_where_they_are_wanted(tmp_path: Path) -> None:
    """They name the request id of a call that took so long, in OpenMetrics alone."""
    for wanted in (False, True):
        telemetry = Telemetry(exemplars=wanted)
        telemetry.over("chat", "request-1", 0.2)
        name = f"w{wanted}"
        metrics = SharedMetrics(tmp_path / name / "journal", name, telemetry.registry().collect)
        metrics.publish()
        found = [
            (sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
            for family in open_metrics(metrics.text(OPEN)[0].decode())
            for sample in family.samples
            if sample.exemplar is not None
        ]
        assert found == ([("0.25", {"request_id": "request-1"}, 0.2)] if wanted else [])
        assert b"request-1" not in metrics.text("")[0]
