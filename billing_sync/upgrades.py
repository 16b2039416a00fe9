"""Which product an instance's usage belongs to when upgrades changed it on the way. Pure.

Usage is counted by the hour, so within the hour of an upgrade the boundary is approximate: what the
ledger held when the old product's last interval was cut is the old product's, the rest of that hour
the new one's. Sums are exact: every unit is recorded once, under one of the two.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from metering.windows import window_of

FOREIGN: Final = "!"  # in a remainder's key, before the product whose meter the instance had before


class Change(NamedTuple):
    """An upgrade: when (UTC ms), from what, and whether the old product's last interval was cut."""

    at: int
    old_product_id: str
    settled: bool


class Tenure(NamedTuple):
    """The time in which an instance had one product; `begins` and `ends` are 0 where it is open.

    `over` when usage of the hour in which it ended is no longer its own.
    """

    product_id: str
    begins: int = 0
    ends: int = 0
    over: bool = False

    def has(self, origin: int) -> bool:
        """Whether it had not ended when usage of that hour was used."""
        last = window_of(self.ends)
        return not self.ends or origin < last or (origin == last and not self.over)


def tenures(product_id: str, changes: Sequence[Change]) -> list[Tenure]:
    """The products of an instance, oldest first. `product_id` is the one it has now, `changes` are
    in their order."""
    found = []
    begins = 0
    for change in changes:
        found.append(Tenure(change.old_product_id, begins, change.at, change.settled))
        begins = change.at
    return [*found, Tenure(product_id, begins)]


def tenure_of(
    held: Sequence[Tenure], origin: int, meter: str, meter_of: Callable[[str], str | None]
) -> Tenure:
    """Whose usage it is that was used in the window `origin`.

    The meter decides where the time is in doubt: usage is counted by the meter of the product that
    the gateway knew of.
    """
    by_time = next(tenure for tenure in held if tenure.has(origin))
    if meter_of(by_time.product_id) == meter:
        return by_time
    return next((t for t in reversed(held) if meter_of(t.product_id) == meter), by_time)


def in_force(held: Sequence[Tenure]) -> Tenure:
    """The product whose remainder stands under the plain key."""
    return next(tenure for tenure in held if not tenure.over)


def remainder_key(
    package_id: str, product_id: str, current_id: str, meter_of: Callable[[str], str | None]
) -> str:
    """Where the remainder of a product's usage is kept: apart if it is of another meter than that
    of the product in force, because the two cannot be added up."""
    if product_id == current_id or meter_of(product_id) == meter_of(current_id):
        return package_id
    return f"{package_id}{FOREIGN}{product_id}"
