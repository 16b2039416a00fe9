"""The words of a reconciliation: what is compared, over which hours, and where each side stood. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from metering.windows import HOUR_MS


class Place(NamedTuple):
    """What a quantity is for, over all routes and grades. `window` is the hour it was used in.

    `instance_id` is empty for the customer's total.
    """

    window: int
    customer_id: str
    instance_id: str
    meter: str


class Span(NamedTuple):
    """The windows asked for, [first, end)."""

    first: int = 0
    end: int = 2**31 - 1  # the largest number that a column of windows takes

    def holds(self, window: int) -> bool:
        """Whether the window is one of them."""
        return self.first <= window < self.end

    @property
    def begins_ms(self) -> int:
        return self.first * HOUR_MS


EVERYTHING = Span()


@dataclass(slots=True)
class Written:
    """What the journals hold: `counted` lies at or before the positions, the rest is on its way."""

    counted: int = 0
    on_the_way: int = 0


@dataclass(slots=True)
class Held:
    """What Redis and the ledger hold; `late` and `clock` are parts that are billed in another hour.

    `assigned` is no part of it: the journals have that use under its customer alone.
    """

    quantity: int = 0
    late: int = 0
    clock: int = 0
    assigned: int = 0


@dataclass
class Stood:
    """What Redis and the ledger hold, and through which of each lane's numbers, by partition."""

    held: dict[Place, Held] = field(default_factory=dict)
    positions: dict[str, dict[int, int]] = field(default_factory=dict)
    checkpoints: dict[str, dict[int, int]] = field(default_factory=dict)
    ledger_alone: set[int] = field(default_factory=set)

    def position(self, lane: str) -> Mapping[int, int]:
        """Through which number `held` holds the lane, by partition."""
        return self.positions.get(lane, {})

    def checkpoint(self, lane: str) -> Mapping[int, int]:
        """The same of the ledger alone."""
        return self.checkpoints.get(lane, {})


class Numbers(NamedTuple):
    """The records numbered `first` to `last`."""

    first: int
    last: int
