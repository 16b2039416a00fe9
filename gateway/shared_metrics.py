"""The metrics of an installation's workers, of whichever of them is asked.

A worker publishes its own once a second and whenever it is asked itself; the answer is the sum of
everybody's pages. Without a page (there was no room for it) it knows only its own.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.lowlevel
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import past, series
from gateway.pages import Page
from gateway.series import Family
from metering.exposing import encoded

log = logging.getLogger("tallygate.gateway")

FOLDER: Final = "metrics"
_STEP_S: Final = 0.0003  # calls wait no longer for one


class Shown(Protocol):
    """What the operator's listener shows."""

    def publish(self) -> None:
        """In the event loop: what is counted here, now."""

    def text(self, accept: str, *, own: bool) -> tuple[bytes, str]:
        """In a thread: in the format that is accepted, and its content type; `own` are those of
        this worker alone."""


class OwnMetrics:
    """Of a process that shares nothing."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def publish(self) -> None:
        """There is nobody else."""

    def text(self, accept: str, *, own: bool) -> tuple[bytes, str]:  # noqa: ARG002
        """What the registry shows."""
        return encoded(self._registry, accept)


class SharedMetrics:
    """Of one worker, on a page beside the journals. `collect` gives what it counts itself, in its
    event loop."""

    def __init__(
        self, journal_dir: Path, name: str, collect: Callable[[], Iterable[Metric]]
    ) -> None:
        self._folder = folder = journal_dir.with_name(FOLDER)
        self._collect = collect
        self._exemplars: Mapping[tuple[str, tuple[str, ...]], object] = {}
        self._turns = 0
        self._own: list[Family] = []
        self._page: Page | None = None
        try:
            self._page = Page(folder, name)
            past.fold(folder)
        except OSError as reason:
            log.warning("metrics are of this worker alone: %s", reason)

    def publish(self) -> None:
        """Show the others what is counted here. Never raises."""
        for _ in self._publishing():
            pass

    async def publish_slowly(self) -> None:
        """The same in steps, between which calls are served."""
        began_s = time.perf_counter()
        for _ in self._publishing():
            if time.perf_counter() - began_s > _STEP_S:
                await anyio.lowlevel.checkpoint()
                began_s = time.perf_counter()

    def _publishing(self) -> Iterator[None]:
        """A step for each metric. Who is overtaken gives up: what is shown never goes back."""
        turn = self._turns = self._turns + 1
        own: list[Family] = []
        exemplars: dict[tuple[str, tuple[str, ...]], Exemplar] = {}
        try:
            for metric in chain(self._collect(), self._about_pages()):
                own.append(series.family(metric))
                exemplars |= _exemplars(metric)
                yield
                if self._turns != turn:
                    return
            self._own, self._exemplars = own, exemplars
            if self._page is not None:
                self._page.publish(own)
        except Exception:
            log.exception("metrics could not be published")

    def text(self, accept: str, *, own: bool = False) -> tuple[bytes, str]:
        """All workers' metrics in the format that is accepted, and its content type; for a thread.

        `publish` comes first; `own` are those of this worker alone, since it started.
        """
        found = self._own
        if not own and self._page is not None and not self._page.overflows:
            with suppress(OSError):
                past.fold(self._folder)
            found = past.total(self._folder)
        shown = series.metrics(found, self._exemplars)
        return encoded(_Ready(shown), accept)

    def close(self) -> None:
        """The last word of this worker."""
        if self._page is not None:
            self.publish()
            self._page.close()

    def _about_pages(self) -> Iterable[Metric]:
        overflows = self._page.overflows if self._page is not None else 0
        yield CounterMetricFamily(
            "gateway_metrics_overflows", "Times metrics did not fit on their page.", overflows
        )
        yield GaugeMetricFamily("gateway_workers", "Workers that live.", value=1)


class _Ready(Collector):
    def __init__(self, shown: Iterable[Metric]) -> None:
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        return self._shown


def _exemplars(metric: Metric) -> dict[tuple[str, tuple[str, ...]], Exemplar]:
    if metric.type != "histogram":
        return {}
    return {
        (sample.name, tuple(sample.labels.values())): sample.exemplar
        for sample in metric.samples
        if sample.exemplar is not None
    }
