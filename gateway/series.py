"""What several workers count, as one: counters of the living and the dead are added up, gauges of
the living alone. Pure.

A gauge is added up too, unless it says the same of every worker, or what the worst one says matters.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client.core import Metric

# Of all workers the most, or the least, tells more than the sum.
MOST: Final = frozenset(
    {
        "gateway_apply_lag_seconds",
        "gateway_config_last_success_timestamp_seconds",
        "gateway_disk_free_bytes",
        "gateway_entitlements_age_seconds",
        "gateway_entitlements_customers",
        "gateway_entitlements_from_disk",
        "gateway_entitlements_stale",
        "gateway_entitlements_unreadable",
        "gateway_journal_bytes",
        "gateway_journal_unbooked_age_seconds",
        "gateway_limit_bank_away",
        "gateway_package_overshoot_bound_most",
        "gateway_store_down",
    }
)
LEAST: Final = frozenset({"gateway_journal_writable", "gateway_upstreams_healthy"})
LASTING: Final = frozenset({"counter", "histogram"})  # what is counted stays counted

Number = int | float
_NUMBERS: Final = (int, float)  # and no bool: a page takes nothing else
Exemplar = tuple[dict[str, str], float]


class Group(msgspec.Struct, array_like=True):
    """The samples of one name and the same labels. `rows`: label values, then the number."""

    sample: str
    labels: list[str]
    rows: list[tuple[list[str], Number]]


class Family(msgspec.Struct, array_like=True):
    """A metric as it is written into a page."""

    name: str
    kind: str
    text: str
    groups: list[Group]

    @property
    def lasting(self) -> bool:
        """Whether it outlives its worker."""
        return self.kind in LASTING


def family(metric: Metric) -> Family:
    """What a collector shows, small. Exemplars are left out: they are of one worker."""
    groups: dict[tuple[str, ...], Group] = {}
    for name, labels, value, *_ in metric.samples:
        key = (name, *labels)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(name, list(labels), [])
        number = value if type(value) in _NUMBERS else float(value)
        group.rows.append((list(labels.values()), number))
    return Family(metric.name, metric.type, metric.documentation, list(groups.values()))


class Sum:
    """Families of several workers, added up. The first added says what stands first."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[tuple[str, ...], dict[tuple[str, ...], Number]]] = {}

    def add(self, some: Iterable[Family], *, living: bool) -> None:
        """What one worker counts; of one that is dead only what lasts."""
        for family in some:
            if living or family.lasting:
                self._add(family)

    def _add(self, family: Family) -> None:
        known = self._kinds.setdefault(family.name, (family.kind, family.text))
        if known[0] != family.kind:
            return  # another version's; the first one counts
        values = self._values.setdefault(family.name, {})
        for group in family.groups:
            rows = values.setdefault((group.sample, *group.labels), {})
            for labels, number in group.rows:
                key = tuple(labels)
                before = rows.get(key)
                rows[key] = number if before is None else _both(family, before, number)

    def families(self) -> list[Family]:
        """All of it."""
        return [
            Family(
                name,
                *self._kinds[name],
                [
                    Group(key[0], list(key[1:]), [(list(row), n) for row, n in rows.items()])
                    for key, rows in groups.items()
                ],
            )
            for name, groups in self._values.items()
        ]


def _both(family: Family, one: Number, other: Number) -> Number:
    if family.kind == "info" or family.name in MOST:
        return max(one, other)
    return min(one, other) if family.name in LEAST else one + other


def metrics(
    some: Iterable[Family], exemplars: Mapping[tuple[str, tuple[str, ...]], object] | None = None
) -> Sequence[Metric]:
    """As prometheus_client writes them out; `exemplars` by sample and label values."""
    said = exemplars or {}
    found = []
    for family in some:
        metric = Metric(family.name, family.text, family.kind)
        for group in family.groups:
            for labels, number in group.rows:
                example = said.get((group.sample, tuple(labels)))
                named = dict(zip(group.labels, labels, strict=True))
                metric.add_sample(group.sample, named, number, exemplar=example)  # type: ignore[arg-type]
        found.append(metric)
    return found
