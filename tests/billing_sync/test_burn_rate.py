"""How long a package lasts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.burn_rate import days_to_empty

DAY = 86_400_000
NOW = 20_000 * DAY


@pytest.mark.parametrize(
    ("left", "used", "over", "days"),
    [
        (100, 10, DAY, 10),
        (100, 70, 7 * DAY, 10),
        (9, 10, DAY, 0),  # less than a day
        (0, 10, DAY, 0),
        (-5, 10, DAY, 0),
        (100, 0, 7 * DAY, None),  # nobody can say
        (100, 5, 60_000, None),  # too short a time to tell anything
        (10**15, 1, 7 * DAY, None),  # longer than anybody plans
    ],
)
def test_days(left: int, used: int, over: int, days: int | None) -> None:
    """At the pace of lately, rounded down."""
    assert days_to_empty(left, used, since_ms=NOW - over, now_ms=NOW) == days


@given(st.integers(1, 10**15), st.integers(1, 10**15), st.integers(3_600_000, 7 * DAY))
def test_it_does_last_that_long(left: int, used: int, over: int) -> None:
    """What is used in so many days at that pace is no more than what is left."""
    days = days_to_empty(left, used, since_ms=NOW - over, now_ms=NOW)
    if days is not None:
        assert days * DAY * used <= left * over < (days + 1) * DAY * used
