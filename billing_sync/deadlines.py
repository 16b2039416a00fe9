"""Until when a usage record must be pushed, and when it is collected (spec §7.2). Pure.

Hourly products: within 2 hours after the end of the interval; collected at minute 15 of every hour.
Daily products: by 01:00 after the day, of the marketplace's zone, or the charge slips a day;
collected then. Every record: `begin` lies within the last 21 days, or it is never taken.
All times are UTC ms.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from metering.windows import HOUR_MS

DAY_MS: Final = 24 * HOUR_MS
EXPIRY_MS: Final = 21 * DAY_MS
LATEST_MS: Final = 2 * HOUR_MS
_COLLECTION_MS: Final = 15 * 60_000


class Deadline(StrEnum):
    """The classes of deadlines."""

    HOURLY = "hourly"
    DAILY = "daily"
    EXPIRY = "expiry"


# From how long before a deadline on a record that is not pushed counts as at risk.
HORIZONS: Final[Mapping[Deadline, int]] = {
    Deadline.HOURLY: 90 * 60_000,  # half an hour after the hour, all is out on an ordinary day
    Deadline.DAILY: 30 * 60_000,  # the same
    Deadline.EXPIRY: 3 * DAY_MS,  # a weekend
}


def of_cycle(cycle: str) -> Deadline:
    """The class of a product's billing cycle, hour or day."""
    return Deadline.DAILY if cycle == "day" else Deadline.HOURLY


def deadline(kind: Deadline, at: int, zone: tzinfo) -> int:
    """The deadline of a record. `at` is its end, for EXPIRY its begin."""
    if kind is Deadline.EXPIRY:
        return at + EXPIRY_MS
    if kind is Deadline.HOURLY:
        return at + LATEST_MS
    return _one_o_clock(at - 1, zone, days=1)  # an end at midnight belongs to the day before


def due_until(kind: Deadline, until_ms: int, zone: tzinfo) -> int:
    """The latest `at` (see `deadline`) of records whose deadline is not after `until_ms`."""
    if kind is Deadline.EXPIRY:
        return until_ms - EXPIRY_MS
    if kind is Deadline.HOURLY:
        return until_ms - LATEST_MS
    return _midnight(last_collection(kind, until_ms, zone), zone)


def last_collection(kind: Deadline, now_ms: int, zone: tzinfo) -> int:
    """The newest collection that is not after now, for records of hourly or daily products."""
    if kind is not Deadline.DAILY:
        return (now_ms - _COLLECTION_MS) // HOUR_MS * HOUR_MS + _COLLECTION_MS
    today = _one_o_clock(now_ms, zone)
    return today if today <= now_ms else _one_o_clock(now_ms, zone, days=-1)


def _one_o_clock(at: int, zone: tzinfo, days: int = 0) -> int:
    """01:00 of the local day of `at`, or of one so many days from it."""
    return _ms(_local(at, zone).replace(hour=1) + timedelta(days=days))


def _midnight(at: int, zone: tzinfo) -> int:
    return _ms(_local(at, zone))


def _local(at: int, zone: tzinfo) -> datetime:
    """Where the local day begins."""
    local = datetime.fromtimestamp(at // 1000, zone)
    return local.replace(hour=0, minute=0, second=0, fold=0)


def _ms(local: datetime) -> int:
    return int(local.timestamp()) * 1000
