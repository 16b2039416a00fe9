"""Which records a person should see first, and how long they wait for one."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.holding import LEAST, Evidence, Rule, judge, release_at
from billing_sync.settings import BillingSettings, HoldSettings
from metering.windows import HOUR_MS

START = 500_000 * HOUR_MS
MINUTE = 60_000
TEN_TIMES = Rule(Decimal(10), Decimal(0), None)
ESTIMATED = Rule(None, Decimal(0), Decimal("0.2"))


def seen(value: str, *earlier: str, used: int = 0, estimated: int = 0) -> Evidence:
    return Evidence(Decimal(value), [Decimal(each) for each in earlier], used, estimated)


def test_far_above_the_usual() -> None:
    """More than so many times the median, whatever single outliers there were."""
    assert judge(TEN_TIMES, seen("10", "1", "1", "100")) is None
    reason = judge(TEN_TIMES, seen("10.0001", "1", "1", "100"))
    assert reason is not None
    assert (reason.code, "10 times 1, the median" in reason.text) == ("baseline", True)


def test_without_enough_records_nothing_is_usual() -> None:
    """A new instance is not held for being new."""
    assert judge(TEN_TIMES, seen("999", *["1"] * (LEAST - 1))) is None
    assert judge(TEN_TIMES, seen("999", *["1"] * LEAST)) is not None


def test_little_things_are_let_go() -> None:
    """Up to `above` nothing is compared."""
    rule = TEN_TIMES._replace(above=Decimal(50))
    assert judge(rule, seen("50", "1", "1", "1")) is None
    assert judge(rule, seen("50.0001", "1", "1", "1")) is not None


def test_estimated_usage() -> None:
    """More than the share; none at all is no share."""
    assert judge(ESTIMATED, seen("1", used=10, estimated=2)) is None
    reason = judge(ESTIMATED, seen("1", used=10, estimated=3))
    assert reason is not None
    assert (reason.code, "3 of 10" in reason.text) == ("estimated", True)
    assert judge(ESTIMATED, seen("1")) is None


def test_off_by_default() -> None:
    """As the settings come."""
    hold = HoldSettings()
    assert not hold.is_on
    rule = Rule(hold.times, hold.above, hold.estimated_share)
    assert judge(rule, seen("999", "1", "1", "1", used=1, estimated=1)) is None
    assert HoldSettings(baseline=LEAST).baseline == LEAST
    assert HoldSettings(estimated_share=Decimal(0)).is_on


@pytest.mark.parametrize(
    ("now", "released"), [(2, 12), (11, 12), (12, 72), (13, 72), (71, 72), (-1, 12)]
)
def test_released_at_the_next_minute_12(now: int, released: int) -> None:
    """Minutes after the hour. Never at once: that would be no hold."""
    at = release_at(
        START + now * MINUTE,
        push_by_ms=BillingSettings().push_by_ms,
        deadline_ms=START + 3 * HOUR_MS,
    )
    assert at == START + released * MINUTE


def test_a_deadline_comes_first() -> None:
    """A day's record that was made late still makes 01:00; past the deadline nothing is waited for."""
    at = START + 20 * MINUTE
    given = {"push_by_ms": 12 * MINUTE}
    assert release_at(at, **given, deadline_ms=START + HOUR_MS) == START + 57 * MINUTE
    assert release_at(at, **given, deadline_ms=START) == at


@given(st.integers(0, HOUR_MS), st.integers(0, 14))
def test_it_always_makes_minute_15(now: int, minute: int) -> None:
    """Within the hour, and before the collection."""
    at = release_at(START + now, push_by_ms=minute * MINUTE, deadline_ms=START + 9 * HOUR_MS)
    assert START + now <= at <= START + now + HOUR_MS
    assert at % HOUR_MS < 15 * MINUTE
