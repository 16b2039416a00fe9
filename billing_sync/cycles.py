"""Which billing cycle an hour belongs to, and where cycles begin and end. Pure.

A product is charged by the hour or by the day (spec §8.1). A day is one of the zone in which the
marketplace collects (spec §8.7); where clocks are set forward or back it has 23 or 25 hours. The
zone is handed in: reading one is IO.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from metering.windows import Window, end_ms, start_ms, window_of

Kind = Literal["hour", "day"]

_FROM_YEAR: Final = 2020
_TO_YEAR: Final = 2050
_REMEMBERED: Final = 10_000  # days, by any of their hours: more than a year of them


class Span(NamedTuple):
    """Half-open, UTC ms, on whole hours."""

    begin: int
    end: int


def cycle_of(window: Window, kind: Kind, zone: tzinfo) -> Span:
    """The cycle that the hour is in."""
    if kind == "hour":
        return Span(start_ms(window), end_ms(window))
    return _day_of(window, zone)


def last_complete(through_ms: int, kind: Kind, zone: tzinfo) -> Span:
    """The last cycle that is over when all hours up to `through_ms` (a whole hour) are."""
    now = cycle_of(window_of(through_ms), kind, zone)
    return cycle_of(Window(window_of(now.begin) - 1), kind, zone)


def has_whole_hours(zone: tzinfo) -> bool:
    """Whether the zone is always a whole number of hours from UTC, in these decades.

    Usage is counted by UTC hours, so a day that begins within one could not be told from the day
    before. Twice a month is often enough to see every rule a zone has.
    """
    return all(
        _offset(datetime(year, month, day, tzinfo=UTC), zone) % timedelta(hours=1) == timedelta()
        for year in range(_FROM_YEAR, _TO_YEAR)
        for month in range(1, 13)
        for day in (1, 15)
    )


@lru_cache(_REMEMBERED)
def _day_of(window: Window, zone: tzinfo) -> Span:
    """All hours around this one that begin on the same date: no midnight needs to exist or be
    unique for that."""
    today = _date(window, zone)
    first = last = window
    while _date(Window(first - 1), zone) == today:
        first = Window(first - 1)
    while _date(Window(last + 1), zone) == today:
        last = Window(last + 1)
    return Span(start_ms(first), end_ms(last))


def _date(window: Window, zone: tzinfo) -> date:
    return datetime.fromtimestamp(start_ms(window) // 1000, zone).date()


def _offset(time: datetime, zone: tzinfo) -> timedelta:
    return time.astimezone(zone).utcoffset() or timedelta()
