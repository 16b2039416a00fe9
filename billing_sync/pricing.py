"""What billing units cost under a product's price: revenue views only, the marketplace charges itself.

Three modes (spec §8.2): fixed; step, where each part of what was used in an accumulation period has
the price of its band; tier, where a record's whole quantity has the price of the band it falls into.
Everything is Decimal and exact, nothing is rounded. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, localcontext
from typing import Final

from metering.catalogue import Band, Price

ZERO: Final = Decimal(0)
EXACT: Final = Context(prec=200, traps=[Inexact])  # more digits than any sum here can have
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000


def charge(price: Price, quantity: Decimal, before: Decimal = ZERO) -> Decimal:
    """What `quantity` billing units cost, once `before` were used in the same period.

    `before` only matters to step prices. A bound belongs to the band below it.
    """
    with localcontext(EXACT):
        if price.mode == "step":
            return _up_to(price.bands, before + quantity) - _up_to(price.bands, before)
        if price.mode == "tier":
            return quantity * _band_of(price.bands, quantity).price
        return quantity * (price.unit_price or ZERO)


def _up_to(bands: Sequence[Band], quantity: Decimal) -> Decimal:
    """What the first `quantity` units of a period cost."""
    cost = low = ZERO
    for band in bands:
        high = quantity if band.up_to is None else min(quantity, band.up_to)
        if high <= low:
            break
        cost += (high - low) * band.price
        low = high
    return cost


def _band_of(bands: Sequence[Band], quantity: Decimal) -> Band:
    return next(band for band in bands if band.up_to is None or quantity <= band.up_to)


def period_of(price: Price, at_ms: int, offset_ms: int = 0) -> int | None:
    """The accumulation period a time (UTC ms) falls into; None where nothing accumulates.

    Days and months begin at midnight of a zone that is `offset_ms` ahead of UTC.
    """
    if price.mode != "step" or price.accumulate == "none":
        return None
    local_ms = at_ms + offset_ms
    if price.accumulate == "day":
        return local_ms // _DAY_MS
    local = _EPOCH + timedelta(milliseconds=local_ms)
    return local.year * 12 + local.month


@dataclass
class Running:
    """Prices one instance's records, given in the order of their beginnings."""

    price: Price
    offset_ms: int = 0

    def __post_init__(self) -> None:
        self._period: int | None = None
        self._used = ZERO

    def add(self, at_ms: int, quantity: Decimal) -> Decimal:
        """What the next record costs: `quantity` billing units, begun at `at_ms`."""
        period = period_of(self.price, at_ms, self.offset_ms)
        if period is None or period != self._period:
            self._period, self._used = period, ZERO
        cost = charge(self.price, quantity, self._used)
        with localcontext(EXACT):
            self._used += quantity
        return cost
