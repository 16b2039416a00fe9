"""What one round of questions to a running installation was answered. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tallygate.top.names import BY_LABEL, COUNTED, LEDGER, NOW, Metric

Samples = list[tuple[Mapping[str, str], float]]
Exposition = Mapping[str, Samples]


@dataclass(frozen=True)
class Worker:
    """A gateway worker; `counted` are totals since it started. Where it is silent both are empty."""

    name: str
    pid: int
    up: bool
    counted: Mapping[str, float] = field(default_factory=dict)
    now: Mapping[str, float] = field(default_factory=dict)
    backlog: int | None = None  # records that Redis lacks
    writable: bool | None = None


@dataclass(frozen=True)
class Control:
    """The control plane. `usage`: of each customer and meter in this hour, in the meter's unit."""

    up: bool
    ledger: Mapping[str, float] = field(default_factory=dict)
    by_label: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    usage: Mapping[tuple[str, str], int] = field(default_factory=dict)
    live: bool = True
    billing: str = ""  # why it is stopped


@dataclass(frozen=True)
class Round:
    """All of it; `at_s` by a clock that never steps, `at_ms` UTC."""

    at_s: float
    at_ms: int
    workers: tuple[Worker, ...]
    control: Control | None


def read(text: str) -> Exposition:
    """Samples by metric. Raises ValueError for what is no exposition."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


def figures(exposition: Exposition, wanted: Mapping[str, Metric]) -> dict[str, float]:
    """Those that are there. A metric without the labels is 0 where it has others."""
    return {
        name: sum(value for labels, value in exposition[metric.name] if _fits(labels, metric))
        for name, metric in wanted.items()
        if metric.name in exposition
    }


def worker_of(name: str, pid: int, exposition: Exposition, journal: Mapping[str, Any]) -> Worker:
    """A worker that answered."""
    counted = {**dict.fromkeys(COUNTED, 0.0), **figures(exposition, COUNTED)}
    now = figures(exposition, NOW)
    return Worker(name, pid, True, counted, now, journal.get("backlog"), journal.get("writable"))


def control_of(
    exposition: Exposition, usage: Mapping[str, Any], health: Mapping[str, Any]
) -> Control:
    """A control plane that answered; `usage` is empty where it has too much to tell."""
    by_label = {
        name: {labels[label]: value for labels, value in exposition.get(metric, [])}
        for name, (metric, label) in BY_LABEL.items()
    }
    used = {
        (row["customer_id"], row["meter"]): int(row["quantity"]) for row in usage.get("data", [])
    }
    live, billing = bool(usage.get("live", True)), str(health.get("billing", ""))
    return Control(True, figures(exposition, LEDGER), by_label, used, live, billing)


def _fits(labels: Mapping[str, str], metric: Metric) -> bool:
    return all(labels.get(name) == value for name, value in metric.labels.items())
