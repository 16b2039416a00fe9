"""The reconciliation table: what every station counted, in the meter's unit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

STATIONS: Final = (
    "client",
    "upstream",
    "journal",
    "redis_ledger",
    "usage_info",
    "pushed",
    "collected",
)


@dataclass(frozen=True)
class Row:
    """One meter. A station that cannot know the meter is None."""

    meter: str
    counts: Mapping[str, int | None]

    @property
    def difference(self) -> int:
        """The largest disagreement between any two stations."""
        known = [count for count in self.counts.values() if count is not None]
        return max(known) - min(known)

    def as_json(self) -> dict[str, Any]:
        return {"meter": self.meter, **self.counts, "difference": self.difference}


def rows(counts: Mapping[str, Mapping[str, int]], meters: Sequence[str]) -> list[Row]:
    """Rows from what each station counted per meter."""
    return [
        Row(meter, {station: counts.get(station, {}).get(meter) for station in STATIONS})
        for meter in meters
    ]


def in_meter_units(value: str | float | Decimal, unit: int) -> int:
    """Billing units back in the meter's unit. Raises ValueError when that is no whole number."""
    quantity = Decimal(str(value)) * unit
    if quantity != int(quantity):
        raise ValueError(f"{value} units of {unit} are no whole number of the meter")
    return int(quantity)
