"""What can be asked about usage, and what is answered. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from metering.deltas import DeltaKey

DIMENSIONS: Final = ("customer", "instance", "meter", "window", "day")
EVERY_ROW: Final = frozenset({"customer", "instance", "meter", "window"})
MOST_CELLS: Final = 100_000


class Cell(NamedTuple):
    """What a quantity is for. A dimension nobody asked for is 0 or empty.

    `instance_id` is also empty for what was counted for the customer, whoever is charged.
    """

    window: int
    customer_id: str
    instance_id: str
    meter: str


class UsageFilter(NamedTuple):
    """What a question is about; None asks for everything. Windows are half-open.

    `by` are the dimensions that the answer keeps apart.
    """

    customer_id: str | None = None
    instance_id: str | None = None
    meter: str | None = None
    from_window: int | None = None
    to_window: int | None = None
    by: frozenset[str] = EVERY_ROW

    @property
    def split_by_instance(self) -> bool:
        """Whether charged and uncharged use are told apart, which needs every other dimension."""
        return "instance" in self.by and self.instance_id is None

    @property
    def grain(self) -> frozenset[str]:
        """The dimensions that must be kept apart to answer."""
        if self.split_by_instance:
            return frozenset({"customer", "instance", "window"})
        by_window = {"window"} if self.by & {"window", "day"} else set()
        return frozenset(by_window | (self.by & {"customer"}))

    @property
    def only_instance(self) -> str | None:
        """The instance whose rows are wanted; "" for those of customers, None for all."""
        return None if self.split_by_instance else self.instance_id or ""

    def matches(self, key: DeltaKey) -> bool:
        """Does a delta that still is in Redis belong to the answer?"""
        return (
            self.customer_id in (None, key.customer_id)
            and self.only_instance in (None, key.instance_id)
            and self.meter in (None, key.meter)
            and (self.from_window is None or key.window >= self.from_window)
            and (self.to_window is None or key.window < self.to_window)
        )

    def cell(self, key: DeltaKey) -> Cell:
        """Where a matching delta belongs."""
        grain = self.grain
        return Cell(
            key.window if "window" in grain else 0,
            key.customer_id if "customer" in grain else "",
            key.instance_id if "instance" in grain else "",
            key.meter,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Quantities per cell. `live` is False when what Redis holds could not be added."""

    cells: Mapping[Cell, int]
    at_ms: int
    live: bool
