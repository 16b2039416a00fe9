"""Decides which prepaid package usage is deducted from. Pure.

The ledger alone deducts, in the order usage arrives: the package that expires first, then the
oldest. Ordinary packages are deducted again by the marketplace itself, so what is decided here for
them is our expectation, shown as UsageInfo; stop-before-excess packages name the package in each
usage record.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

# Stands in place of a package id for usage beyond the last stop-before-excess package.
OVERSHOOT: Final = "!overshoot"


class Balance(NamedTuple):
    """What one package still holds for one billing item, in the meter's unit."""

    package_id: str
    left: int
    stop_before_excess: bool
    expires: int  # UTC ms, 0 for never
    started: int


class Allocation(NamedTuple):
    """A part of the usage and the package (or OVERSHOOT) it is taken from."""

    package_id: str
    quantity: int


def quota_in_meter_units(quota: Decimal, unit: int) -> int:
    """A package's quota (billing units) in the meter's unit, rounded down."""
    return int(quota * unit)


def in_order(balances: Iterable[Balance]) -> list[Balance]:
    """Earliest expiry first (never-expiring last), then oldest, then by id to be stable."""
    return sorted(balances, key=lambda b: (b.expires or 2**63, b.started, b.package_id))


def deduct(quantity: int, balances: Sequence[Balance]) -> list[Allocation]:
    """Take `quantity` from the balances in their order.

    What no package covers is pay-per-use and not in the answer, unless the customer holds a
    stop-before-excess package: then it is OVERSHOOT.
    """
    taken = []
    for balance in balances:
        part = min(quantity, max(balance.left, 0))
        if part:
            taken.append(Allocation(balance.package_id, part))
            quantity -= part
    if quantity and any(balance.stop_before_excess for balance in balances):
        taken.append(Allocation(OVERSHOOT, quantity))
    return taken


def after(balances: Sequence[Balance], taken: Iterable[Allocation]) -> list[Balance]:
    """The balances once the allocations are taken from them."""
    given = {part.package_id: part.quantity for part in taken}
    return [b._replace(left=b.left - given.get(b.package_id, 0)) for b in balances]
