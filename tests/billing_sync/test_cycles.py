"""Hours and days, and where they begin."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.cycles import Span, cycle_of, has_whole_hours, last_complete
from metering.windows import HOUR_MS, Window, window_of

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
# Clocks are set at midnight there: one midnight does not exist, another comes twice.
MIDNIGHT = [ZoneInfo("Africa/Cairo"), ZoneInfo("America/Havana"), ZoneInfo("America/Asuncion")]


def at(text: str) -> int:
    """UTC ms of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def day(text: str, zone: tzinfo) -> Span:
    """The day around a time in UTC."""
    return cycle_of(window_of(at(text)), "day", zone)


def test_an_hour_is_its_window() -> None:
    """Whatever the zone."""
    assert cycle_of(Window(500_000), "hour", BERLIN) == (500_000 * HOUR_MS, 500_001 * HOUR_MS)


def test_a_day_in_beijing() -> None:
    """From 16:00 to 16:00 UTC."""
    expected = (at("2026-03-01T16:00"), at("2026-03-02T16:00"))
    assert day("2026-03-02T15:59", SHANGHAI) == expected
    assert day("2026-03-01T16:00", SHANGHAI) == expected
    assert day("2026-03-02T16:00", SHANGHAI) != expected


@pytest.mark.parametrize(
    ("text", "begin", "hours"),
    [
        ("2026-03-29T12:00", "2026-03-28T23:00", 23),  # clocks go forward
        ("2026-03-30T12:00", "2026-03-29T22:00", 24),
        ("2026-10-25T12:00", "2026-10-24T22:00", 25),  # and back
    ],
)
def test_days_on_which_clocks_are_set(text: str, begin: str, hours: int) -> None:
    """They are as long as they are."""
    found = day(text, BERLIN)
    assert (found.begin, (found.end - found.begin) // HOUR_MS) == (at(begin), hours)


@pytest.mark.parametrize("zone", [SHANGHAI, BERLIN, ZoneInfo("Antarctica/Troll"), *MIDNIGHT])
def test_days_follow_each_other_without_gap(zone: ZoneInfo) -> None:
    """Over some years, every hour is in exactly one day, and the day in which it says it is."""
    hours = range(window_of(at("2023-12-30T00:00")), window_of(at("2026-01-03T00:00")))
    days = sorted({cycle_of(Window(hour), "day", zone) for hour in hours})
    for one, other in pairwise(days):
        assert one.end == other.begin
        assert 22 <= (one.end - one.begin) // HOUR_MS <= 26
    for hour in hours:
        begin, end = cycle_of(Window(hour), "day", zone)
        assert begin <= hour * HOUR_MS < end


@given(st.integers(480_000, 520_000), st.sampled_from([UTC, SHANGHAI, BERLIN]))
def test_the_last_complete_day(hour: int, zone: tzinfo) -> None:
    """It ends at or before, and the next one does not."""
    through_ms = hour * HOUR_MS
    found = last_complete(through_ms, "day", zone)
    assert found.end <= through_ms
    assert cycle_of(window_of(found.end), "day", zone).end > through_ms
    assert last_complete(through_ms, "hour", zone).end == through_ms


@pytest.mark.parametrize(
    ("zone", "whole"),
    [
        (UTC, True),
        (SHANGHAI, True),
        (BERLIN, True),
        (ZoneInfo("Asia/Kolkata"), False),
        (ZoneInfo("Australia/Lord_Howe"), False),  # half an hour of summer time
        (timezone(timedelta(hours=-3, minutes=-30)), False),
    ],
)
def test_zones_of_whole_hours(zone: tzinfo, whole: bool) -> None:
    """Windows are UTC hours, so no day may begin inside one."""
    assert has_whole_hours(zone) is whole
