from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.pricing import Running, charge, period_of
from metering.catalogue import Band, Price
from metering.windows import HOUR_MS

DAY_MS = 24 * HOUR_MS
LADDER = [
    Band(up_to=Decimal(3), price=Decimal("0.3")),
    Band(price=Decimal("0.2")),
]
STEP = Price(mode="step", bands=LADDER, accumulate="month")
TIER = Price(mode="tier", bands=LADDER)

amounts = st.decimals(0, 99_999_999, places=4)
prices = st.decimals(0, 1000, places=6)


@st.composite
def ladders(draw: st.DrawFn, mode: str) -> Price:
    """Bands in order, the last one open."""
    bounds = sorted(set(draw(st.lists(st.decimals("0.0001", 10_000, places=4), max_size=5))))
    bands = [Band(up_to=bound, price=draw(prices)) for bound in bounds]
    return Price.model_validate(
        {"mode": mode, "bands": [*(b.model_dump() for b in bands), {"price": draw(prices)}]}
    )


def test_the_examples_of_the_marketplace() -> None:
    """Eight minutes: the first three at 0.3, the others at 0.2; or all at the price of eight."""
    assert charge(STEP, Decimal(8)) == Decimal("1.90")
    assert charge(TIER, Decimal(8)) == Decimal("1.60")
    assert charge(Price(unit_price=Decimal("0.3")), Decimal(8)) == Decimal("2.4")


def test_a_bound_belongs_to_the_band_below() -> None:
    """At most three minutes cost 0.3 each."""
    assert charge(TIER, Decimal(3)) == Decimal("0.9")
    assert charge(TIER, Decimal("3.0001")) == Decimal("3.0001") * Decimal("0.2")
    assert charge(STEP, Decimal("3.0001")) == Decimal("0.9") + Decimal("0.0001") * Decimal("0.2")


def test_nothing_costs_nothing() -> None:
    """In every mode."""
    for price in (STEP, TIER, Price(unit_price=Decimal(7))):
        assert charge(price, Decimal(0)) == 0


@given(ladders("step"), st.lists(amounts, max_size=8))
def test_the_parts_of_a_step_price_make_the_whole(price: Price, parts: list[Decimal]) -> None:
    """However usage is cut into records, a period costs the same."""
    befores = list(accumulate(parts, initial=Decimal(0)))
    pieces = [charge(price, part, before) for part, before in zip(parts, befores, strict=False)]
    assert sum(pieces, Decimal(0)) == charge(price, befores[-1])


@given(st.one_of(ladders("step"), prices.map(lambda p: Price(unit_price=p))), amounts, amounts)
def test_more_never_costs_less(price: Price, one: Decimal, other: Decimal) -> None:
    """But for tiers: there the next band may be cheaper as a whole."""
    less, more = sorted([one, other])
    assert charge(price, less) <= charge(price, more)


@given(ladders("tier"), amounts)
def test_a_tier_price_is_that_of_one_band(price: Price, quantity: Decimal) -> None:
    """The first whose bound is not passed."""
    (band, *_) = [b for b in price.bands if b.up_to is None or b.up_to >= quantity]
    assert charge(price, quantity) == quantity * band.price


def test_a_month_begins_anew() -> None:
    """At midnight of the zone."""
    january = 31 * DAY_MS
    assert period_of(STEP, january - 1) != period_of(STEP, january)
    assert period_of(STEP, january - 1, HOUR_MS) == period_of(STEP, january)
    running = Running(STEP)
    assert [running.add(at, Decimal(2)) for at in (0, 1, january)] == [
        Decimal("0.6"),
        Decimal("0.3") + Decimal("0.2"),
        Decimal("0.6"),
    ]


@pytest.mark.parametrize(("accumulate_over", "second"), [("none", "0.6"), ("day", "0.5")])
def test_what_accumulates(accumulate_over: str, second: str) -> None:
    """Each record by itself, or those of a day."""
    price = STEP.model_copy(update={"accumulate": accumulate_over})
    running = Running(price)
    assert running.add(0, Decimal(2)) == Decimal("0.6")
    assert running.add(HOUR_MS, Decimal(2)) == Decimal(second)
    assert running.add(DAY_MS, Decimal(2)) == Decimal("0.6")


def test_nothing_is_rounded() -> None:
    """Twelve digits by ten decimals, more than Decimal's own precision."""
    price = Price(unit_price=Decimal("1234567890.0123456789"))
    cost = charge(price, Decimal("99999999.9999"))
    assert cost.as_tuple().exponent == -14
    assert int("".join(map(str, cost.as_tuple().digits))) == 12345678900123456789 * 999999999999
