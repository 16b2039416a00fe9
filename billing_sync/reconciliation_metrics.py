"""Metrics of the last reconciliation, as it wrote its outcome down: `reports/last.json`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

LAST: Final = "last.json"
_MOST_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """What the last one found. `differences` by meter, added up without their signs, of what nothing
    explains; `at_ms` is 0 where there was none."""

    at_ms: int = 0
    exact: bool = False
    differences: Mapping[str, int] = field(default_factory=dict)


def read(folder: Path) -> Outcome:
    """The last outcome; none where it cannot be read."""
    try:
        with (folder / LAST).open("rb") as file:
            said: Any = json.loads(file.read(_MOST_BYTES))
        differences = {str(meter): int(n) for meter, n in said["differences"].items()}
        return Outcome(int(said["at"]), bool(said["exact"]), differences)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Outcome()


def families(found: Outcome) -> Iterable[Metric]:
    """The same as metrics; nothing before the first reconciliation."""
    difference = GaugeMetricFamily(
        "billing_sync_reconciliation_difference",
        "What the last reconciliation could not explain, in the meter's unit.",
        labels=["meter"],
    )
    exact = GaugeMetricFamily(
        "billing_sync_reconciliation_exact", "1 when all of it was equal or explained."
    )
    at = GaugeMetricFamily(
        "billing_sync_reconciliation_timestamp_seconds", "When that was, Unix time."
    )
    if found.at_ms:
        for meter, quantity in sorted(found.differences.items()):
            difference.add_metric([meter], quantity)
        exact.add_metric([], int(found.exact))
        at.add_metric([], found.at_ms / 1000)
    yield from (difference, exact, at)
