"""Deadlines and collections: by the hour, by the day of a zone, and the 21 days."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.deadlines import Deadline, deadline, due_until, last_collection, of_cycle

BEIJING = timezone(timedelta(hours=8))
ZONES: list[tzinfo] = [
    UTC,
    BEIJING,
    timezone(timedelta(hours=5, minutes=30)),
    ZoneInfo("Europe/Paris"),
]
TIMES = st.integers(1_700_000_000, 1_900_000_000).map(lambda seconds: seconds * 1000)


def ms(text: str, zone: tzinfo = UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1000


@pytest.mark.parametrize(
    ("kind", "at", "due"),
    [
        (Deadline.HOURLY, "2026-05-01T14:00", "2026-05-01T16:00"),
        (Deadline.HOURLY, "2026-05-01T13:25:07", "2026-05-01T15:25:07"),
        (Deadline.DAILY, "2026-05-01T13:25", "2026-05-02T01:00"),
        (Deadline.DAILY, "2026-05-02T00:00", "2026-05-02T01:00"),  # the day before ends there
        (Deadline.DAILY, "2026-05-02T00:00:01", "2026-05-03T01:00"),
        (Deadline.EXPIRY, "2026-05-01T13:25", "2026-05-22T13:25"),
    ],
)
def test_deadlines(kind: Deadline, at: str, due: str) -> None:
    """Of the specification, §7.2."""
    assert deadline(kind, ms(at), UTC) == ms(due)


def test_a_day_is_one_of_the_marketplaces_zone() -> None:
    """Beijing's midnight is at 16:00 UTC."""
    assert deadline(Deadline.DAILY, ms("2026-05-01T16:00"), BEIJING) == ms("2026-05-01T17:00")
    assert deadline(Deadline.DAILY, ms("2026-05-01T16:30"), BEIJING) == ms("2026-05-02T17:00")


@pytest.mark.parametrize(
    ("kind", "now", "collected"),
    [
        (Deadline.HOURLY, "2026-05-01T14:14:59", "2026-05-01T13:15"),
        (Deadline.HOURLY, "2026-05-01T14:15", "2026-05-01T14:15"),
        (Deadline.DAILY, "2026-05-01T00:59:59", "2026-04-30T01:00"),
        (Deadline.DAILY, "2026-05-01T01:00", "2026-05-01T01:00"),
        (Deadline.DAILY, "2026-05-01T23:00", "2026-05-01T01:00"),
    ],
)
def test_collections(kind: Deadline, now: str, collected: str) -> None:
    """Minute 15 of every hour, 01:00 of every day."""
    assert last_collection(kind, ms(now), UTC) == ms(collected)


@given(st.sampled_from(list(Deadline)), TIMES, TIMES, st.sampled_from(ZONES))
def test_due_until_is_the_deadline_turned_round(
    kind: Deadline, at: int, until: int, zone: tzinfo
) -> None:
    """A record's deadline is not after a time exactly if the record is not after that cut."""
    assert (at <= due_until(kind, until, zone)) == (deadline(kind, at, zone) <= until)


@given(TIMES, st.sampled_from(ZONES))
def test_a_deadline_of_a_day_lies_after_its_end(at: int, zone: tzinfo) -> None:
    """By an hour at least, by little more than a day at most, also where clocks are changed."""
    left = deadline(Deadline.DAILY, at, zone) - at
    assert 3600_000 <= left <= 26 * 3600_000


def test_cycles() -> None:
    """What is not by the day is by the hour."""
    assert (of_cycle("hour"), of_cycle("day")) == (Deadline.HOURLY, Deadline.DAILY)
