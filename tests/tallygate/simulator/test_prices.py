"""Price modes of the marketplace."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.prices import Band, Mode, ladder

MINUTES = [Band(Decimal(3), Decimal("0.3")), Band(None, Decimal("0.2"))]
STEP, TIER = ladder(Mode.STEP, MINUTES), ladder(Mode.TIER, MINUTES)
UNITS = st.decimals("0.0001", "50", places=4)


def test_fixed():
    """Quantity times price, no digit lost."""
    fixed = ladder(Mode.FIXED, [Band(None, Decimal("0.02"))])
    assert fixed.amount(Decimal("99999999.9999")) == Decimal("1999999.999998")


def test_step_example():
    """The vendor's own: 8 minutes are 0.3 x 3 + 0.2 x 5."""
    assert STEP.amount(Decimal(8)) == Decimal("1.90")


@pytest.mark.parametrize(("units", "amount"), [("3", "0.9"), ("3.0001", "0.60002"), ("8", "1.6")])
def test_tier(units, amount):
    """All of it at the price of the band it falls into; the upper end belongs to the band."""
    assert TIER.amount(Decimal(units)) == Decimal(amount)


def test_splitting_changes_a_tier_price():
    """Eight minutes as two records cost more than as one."""
    assert TIER.amount(Decimal(3)) + TIER.amount(Decimal(5)) > TIER.amount(Decimal(8))


@given(st.lists(UNITS, max_size=10))
def test_splitting_does_not_change_a_step_price(parts):
    """Accumulated, the sum of the parts costs what the whole costs."""
    before, amount = Decimal(0), Decimal(0)
    for part in parts:
        amount += STEP.amount(part, before)
        before += part
    assert amount == STEP.amount(before)


@pytest.mark.parametrize(
    ("mode", "bands"),
    [
        (Mode.TIER, []),
        (Mode.TIER, MINUTES[:1]),
        (Mode.TIER, MINUTES[1:] * 2),
        (Mode.STEP, [MINUTES[0], *MINUTES]),
        (Mode.STEP, [Band(Decimal(0), Decimal(1)), MINUTES[1]]),
        (Mode.FIXED, MINUTES),
        (Mode.FIXED, [Band(None, Decimal(-1))]),
    ],
)
def test_no_ladder(mode, bands):
    """Bands must ascend to one without end, and a fixed price has no others."""
    with pytest.raises(ValueError, match=r"."):
        ladder(mode, bands)
