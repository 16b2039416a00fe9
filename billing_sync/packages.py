"""Decides which prepaid package usage is deducted from. Pure.

The ledger alone deducts, in the order usage arrives: the package that expires first, then the
oldest. Ordinary packages are deducted again by the marketplace itself, so what is decided here for
them is our expectation, shown as UsageInfo; stop-before-excess packages name the package in each
usage record.

Of usage only its hour is known. It is judged at the last moment at which it can have happened: now
for the current hour, the last millisecond of any earlier one, however late it arrives.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from metering.catalogue import Overshoot
from metering.windows import Window, end_ms, start_ms

# These stand in place of a package id for usage beyond the last stop-before-excess package: what
# nobody is charged for, and what waits for a package bought later.
OVERSHOOT: Final = "!overshoot"
WAITING: Final = "!waiting"
NEVER: Final = 2**63 - 1
_PLACES: Final[Mapping[Overshoot, str]] = {
    "absorb": OVERSHOOT,
    "next_package": WAITING,
    "pay_per_use": "",
}


class Span(NamedTuple):
    """UTC ms, half-open."""

    begin: int
    end: int


class Balance(NamedTuple):
    """What one package still holds for one billing item, in the meter's unit, and its life.

    `quota` is what it held at first.
    """

    package_id: str
    left: int
    stop_before_excess: bool
    expires: int  # UTC ms, 0 for never
    started: int
    released: int = 0  # UTC ms, 0 for not yet
    frozen: tuple[Span, ...] = ()
    overshoot: Overshoot = "absorb"
    quota: int = 0

    def is_held(self, at_ms: int) -> bool:
        """Whether the buyer has it, usable or not: from its start to its release."""
        return self.started <= at_ms < (self.released or NEVER)

    def is_usable(self, at_ms: int) -> bool:
        """Whether it gives to usage of this moment: held, not expired, not frozen."""
        if not self.is_held(at_ms) or at_ms >= (self.expires or NEVER):
            return False
        return not any(span.begin <= at_ms < span.end for span in self.frozen)


class Moment(NamedTuple):
    """When usage happened, at the latest, and the part of its window that is over: UTC ms.

    The two differ for late usage, which is booked in a later window than that of its use.
    """

    used: int
    begin: int
    last: int


class Allocation(NamedTuple):
    """A part of the usage and the package (or OVERSHOOT, or WAITING) it is taken from."""

    package_id: str
    quantity: int


def moment_of(origin: int, window: int, now_ms: int) -> Moment:
    """The moment at which usage of `origin` that is booked in `window` is judged."""
    return Moment(_last_ms(origin, now_ms), start_ms(Window(window)), _last_ms(window, now_ms))


def _last_ms(window: int, now_ms: int) -> int:
    return min(now_ms, end_ms(Window(window)) - 1)


def quota_in_meter_units(quota: Decimal, unit: int, times: int = 1) -> int:
    """A package's quota (billing units) in the meter's unit, rounded down once.

    `times` is the quantity the buyer chose, if the product has one (linearValue, spec §7.5).
    """
    numerator, denominator = quota.as_integer_ratio()  # Decimal would round at 28 digits
    return numerator * unit * times // denominator


def freezes(history: Iterable[tuple[int, bool]], *, is_frozen: bool) -> tuple[Span, ...]:
    """When a package was frozen, from its status callbacks, oldest first: (timestamp, freeze or not).

    `is_frozen` says how it stands now; frozen without a callback that says since when is always.
    """
    spans: list[Span] = []
    since: int | None = None
    for at_ms, freeze in history:
        if freeze and since is None:
            since = at_ms
        elif not freeze and since is not None:
            spans.append(Span(since, at_ms))
            since = None
    if is_frozen:
        spans.append(Span(since or 0, NEVER))
    return tuple(spans)


def in_order(balances: Iterable[Balance]) -> list[Balance]:
    """Earliest expiry first (never-expiring last), then oldest, then by id to be stable."""
    return sorted(balances, key=lambda b: (b.expires or NEVER, b.started, b.package_id))


def deduct(quantity: int, balances: Sequence[Balance], moment: Moment) -> list[Allocation]:
    """Take `quantity` from the balances in their order.

    What no package covers is pay-per-use and not in the answer, unless `beyond` names it.
    """
    taken = take(quantity, balances, moment.used)
    left = quantity - sum(part.quantity for part in taken)
    place = beyond(balances, moment)
    return [*taken, Allocation(place, left)] if left and place else taken


def take(quantity: int, balances: Iterable[Balance], at_ms: int) -> list[Allocation]:
    """What those of the balances that are usable give, and no more than they hold."""
    taken = []
    for balance in balances:
        part = min(quantity, balance.left) if balance.is_usable(at_ms) else 0
        if part > 0:
            taken.append(Allocation(balance.package_id, part))
            quantity -= part
    return taken


def beyond(balances: Iterable[Balance], moment: Moment) -> str:
    """OVERSHOOT or WAITING for what no package covers; empty where it is pay-per-use.

    A buyer of a stop-before-excess package is never charged beyond it, until it is released; the
    last of several decides what becomes of it. A record inside its life would have to name a
    package (spec §8.4), so this is also true of late usage whose record can only stand there.
    """
    policy: Overshoot = "pay_per_use"
    for balance in balances:
        if balance.stop_before_excess and _reaches(balance, moment):
            policy = balance.overshoot
    return _PLACES[policy]


def _reaches(balance: Balance, moment: Moment) -> bool:
    recorded_inside = balance.started <= moment.begin and balance.is_held(moment.last)
    return balance.is_held(moment.used) or recorded_inside


def after(balances: Sequence[Balance], taken: Iterable[Allocation]) -> list[Balance]:
    """The balances once the allocations are taken from them."""
    given = {part.package_id: part.quantity for part in taken}
    return [b._replace(left=b.left - given.get(b.package_id, 0)) for b in balances]


def slices(quantity: int, given: Mapping[str, int], naming: Sequence[str]) -> dict[str, int]:
    """The parts of unrecorded usage that get records naming a package, and what is beyond them.

    `given` is what each package gave to it, `naming` are the stop-before-excess ones in their
    order. Never more than the usage itself: what was given to another meter, which the product had
    before, is not this usage's. What is in no part is pay-per-use.
    """
    parts = {}
    for package_id in [*naming, OVERSHOOT, WAITING]:
        part = min(given.get(package_id, 0), quantity)
        if part:
            parts[package_id] = part
            quantity -= part
    return parts
