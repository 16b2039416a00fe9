"""How limits stand, read from a real bank that several workers borrow from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.brakes import Brake
from gateway.limit_settings import Limits
from gateway.limits import Braking, Caller
from gateway.purse import RatePurse, SlotsPurse
from gateway.quota_limits import LimitsNow, rate_now
from gateway.quota_view import LimitNow
from metering.bank import Bank, Spent
from metering.lending import RateAsk, SlotsAsk
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

LIMITS = Limits.model_validate(
    {
        "default": {"requests_per_second": 10, "burst": 20, "concurrent": 5},
        "keys": {"default": {"tokens_per_minute": 6000}},
        "routes": {"chat": {"concurrent": 100}},
    }
)


async def test_what_was_lent_to_anybody_is_spent(redis: Redis) -> None:
    """Of the customer and of the key he asks with, whichever worker has it."""
    clock = FakeClock()
    bank, braking = Bank(redis, clock.now_ms), Braking(8)
    now = LimitsNow(braking, bank, clock.now_ms)
    assert await now(LIMITS, "c", "7") == [
        LimitNow("customer", "concurrent", 5, 0, 5, 0),
        LimitNow("customer", "requests", 20, 2, 20, 0),
        LimitNow("key", "tokens", 6000, 60, 6000, 0),
    ]
    brakes = braking.of(LIMITS, (), "", Caller("c", "7", (), ()))
    assert brakes is not None
    slots = 0
    for turn, lane in enumerate(("lane-1", "lane-2"), 1):
        for brake in brakes.each:
            purse = brake.purse
            if isinstance(purse, SlotsPurse):
                asks = [SlotsAsk(purse.name, 0, 2, purse.most)]
                (lent,) = await bank.ask(purse.partition, lane, "", turn, asks)
                slots += lent.granted
            elif isinstance(purse, RatePurse):
                terms = (purse.units, purse.period_ms, purse.burst)
                await bank.ask(purse.partition, lane, "", turn, [RateAsk(purse.name, *terms, 0, 6)])
    assert await now(LIMITS, "c", "7") == [
        LimitNow("customer", "concurrent", 5, 0, 5 - slots, 0),
        LimitNow("customer", "requests", 20, 2, 8, 2),
        LimitNow("key", "tokens", 6000, 60, 5988, 1),
    ]
    assert slots > 1
    clock.advance(ms=500)
    assert (await now(LIMITS, "c", "7"))[1] == LimitNow("customer", "requests", 20, 2, 13, 1)
    assert (await now(LIMITS, "d", "7"))[1].remaining == 20


async def test_without_limits_nobody_is_asked(redis: Redis) -> None:
    """Not even Redis."""
    await redis.aclose()
    clock = FakeClock()
    assert await LimitsNow(Braking(8), Bank(redis), clock.now_ms)(Limits(), "c", "7") == []


@given(
    units=st.integers(1, 1000),
    period_ms=st.integers(1, 10**6),
    burst=st.integers(1, 10**6),
    debt=st.integers(0, 10**15),
    passed_ms=st.integers(-(10**6), 10**9),
)
def test_a_rate_is_never_more_than_its_burst(
    units: int, period_ms: int, burst: int, debt: int, passed_ms: int
) -> None:
    """Nor less than nothing; what is whole again needs no time."""
    purse = RatePurse("r", 0, units, period_ms, burst)
    shown = rate_now(Brake(purse, "requests", "customer"), purse, Spent(debt, 0), passed_ms)
    assert 0 <= shown.remaining <= shown.limit == burst
    assert shown.reset_s >= 0
    assert (shown.reset_s == 0) <= (shown.remaining == burst)
