"""Which thresholds a use has passed, and what is told about it."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.alerts import Bought, Use, alert_id, alerts_of, message_of, passed

PACK = Bought("pack", "cust-1", "PACK", 1_800_000_000_000)
HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("used", "reached"),
    [
        (0, []),
        (799, []),
        (800, [80]),
        (949, [80]),
        (950, [80, 95]),
        (999, [80, 95]),
        (1000, [80, 95, 100]),
        (1001, [80, 95, 100]),
    ],
)
def test_a_threshold_is_passed_when_it_is_reached(used: int, reached: list[int]) -> None:
    """To the unit: 79.9 % is not 80 %."""
    assert passed(Use("TOKENS", 1000, used, 1), (80, 95, 100)) == reached


@pytest.mark.parametrize("quota", [0, -1])
def test_without_a_quota_nothing_is_passed(quota: int) -> None:
    """A quota below one unit of the meter rounds down to none."""
    assert passed(Use("TOKENS", quota, 5, 1), (1, 100)) == []


@given(
    quota=st.integers(1, HUGE),
    used=st.integers(0, HUGE),
    thresholds=st.lists(st.integers(1, 100), unique=True),
)
def test_passed_is_exact_for_any_numbers(quota: int, used: int, thresholds: list[int]) -> None:
    """Against exact fractions; more use never passes less."""
    reached = passed(Use("T", quota, used, 1), thresholds)
    assert reached == [each for each in thresholds if used * 100 // quota >= each]
    assert set(reached) <= set(passed(Use("T", quota, used + 1, 1), thresholds))


def test_an_alert_is_the_same_whoever_raises_it() -> None:
    """Its id follows from package, item and threshold alone, and can stand in a header."""
    ids = {
        alert_id(package, item, threshold)
        for package in ("a", "b", "a\nb")
        for item in ("x", "b\nx", "包")
        for threshold in (80, 8, 100)
    }
    assert len(ids) == 27
    assert all(each.isascii() and each.isprintable() and "." not in each for each in ids)
    assert alert_id("a", "x", 80) == "alert_25064f5bb1625243a49078fdfe3c48c5"


def test_what_is_told() -> None:
    """Figures in billing units as text, times in UTC, compact and in one order."""
    (alert,) = alerts_of(PACK, [Use("词元", 10_000, 8_005, 1000)], (80, 95), 1_700_000_000_123)
    assert message_of(alert).decode() == (
        '{"type":"package.threshold_passed","timestamp":"2023-11-14T22:13:20.123Z","data":{'
        '"package_id":"pack","item":"词元","threshold":80,"customer_id":"cust-1",'
        '"product_id":"PACK","quota":"10.0000","used":"8.0050","remaining":"1.9950",'
        '"percent":"80.0500","expires":1800000000000,"at":1700000000123}}'
    )


@given(
    quota=st.integers(1, 10**40),
    used=st.integers(0, HUGE),
    unit=st.integers(1, HUGE),
    expires=st.integers(0, HUGE),
)
def test_any_package_can_be_told_of(quota: int, used: int, unit: int, expires: int) -> None:
    """However large: an alert that could not be written would keep usage out of the ledger."""
    for alert in alerts_of(PACK._replace(expires=expires), [Use("T", quota, used, unit)], (1,), 1):
        told = json.loads(message_of(alert))["data"]
        assert Decimal(told["remaining"]) >= 0
        assert Decimal(told["percent"]) >= 1
        assert len(message_of(alert)) < 20_000
