"""Price modes of the marketplace (spec §8.2): fixed, step ladder, tier ladder. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise


class Mode(StrEnum):
    """How the price of a quantity is found."""

    FIXED = "fixed"
    STEP = "step"  # accumulated over the period, each band at its own price
    TIER = "tier"  # the whole of one SDR at the price of the band it falls into


class Period(StrEnum):
    """How long a step ladder accumulates."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True)
class Band:
    """Quantities up to and including `up_to`; None has no end."""

    up_to: Decimal | None
    unit_price: Decimal


@dataclass(frozen=True)
class Price:
    """`bands` ascend and the last has no end; a fixed price has one."""

    mode: Mode
    bands: tuple[Band, ...]
    period: Period = Period.MONTH

    def amount(self, quantity: Decimal, before: Decimal = Decimal(0)) -> Decimal:
        """What `quantity` costs as one SDR, when `before` was used in the period already."""
        if self.mode is Mode.STEP:
            return sum(self._steps(before, before + quantity), Decimal(0))
        return quantity * self._band(quantity).unit_price

    def _band(self, quantity: Decimal) -> Band:
        return next(band for band in self.bands if band.up_to is None or quantity <= band.up_to)

    def _steps(self, low: Decimal, high: Decimal) -> Iterator[Decimal]:
        floors = [Decimal(0), *(band.up_to for band in self.bands if band.up_to is not None)]
        for floor, band in zip(floors, self.bands, strict=True):
            top = high if band.up_to is None else min(high, band.up_to)
            yield max(top - max(low, floor), Decimal(0)) * band.unit_price


def ladder(mode: Mode, bands: list[Band], period: Period = Period.MONTH) -> Price:
    """A price of these bands; raises ValueError when they do not ascend to an endless one."""
    ends = [band.up_to for band in bands]
    if not bands or ends[-1] is not None or None in ends[:-1]:
        raise ValueError("the last band, and only the last, must have no up_to")
    tops = [Decimal(0), *(end for end in ends if end is not None)]
    if any(low >= high for low, high in pairwise(tops)):
        raise ValueError("up_to of the bands must ascend from above 0")
    if any(band.unit_price < 0 for band in bands):
        raise ValueError("unit_price must not be below 0")
    if mode is Mode.FIXED and len(bands) > 1:
        raise ValueError("a fixed price has one band")
    return Price(mode, tuple(bands), period)
