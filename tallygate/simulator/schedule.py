"""When the marketplace collects (spec §7.2): minute 15 of every hour, and 01:00 of every day. Pure.

An hourly run makes the bill of the hour before it, a daily run that of the day before it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from .errors import BadRequest
from .models import Cycle
from .prices import Period
from .times import HOUR_MS, MINUTE_MS

BEIJING: Final = "Asia/Shanghai"
_BEIJING: Final = timezone(timedelta(hours=8), BEIJING)  # without a zone database
_DAILY: Final = time(1)
_MIDNIGHT: Final = time()


def zone_named(name: str) -> tzinfo:
    """A zone of the IANA database; raises BadRequest."""
    if name == BEIJING:
        return _BEIJING
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # not found is a KeyError; a folder an OSError
        raise BadRequest(f"zone {name!r} is unknown; use one as {BEIJING} or UTC") from None


@dataclass(frozen=True)
class Schedule:
    """`zone` is that of the daily run; the hourly one needs none."""

    minute: int = 15
    zone: tzinfo = _BEIJING

    def next_run(self, cycle: Cycle, after_ms: int) -> int:
        """The first run later than `after_ms`."""
        if cycle is Cycle.HOUR:
            offset = self.minute * MINUTE_MS
            return ((after_ms - offset) // HOUR_MS + 1) * HOUR_MS + offset
        today = self._local(after_ms)
        run_ms = self._at(today, _DAILY)
        return run_ms if run_ms > after_ms else self._at(today + timedelta(days=1), _DAILY)

    def own_run(self, cycle: Cycle, end_ms: int) -> int:
        """The run that makes the bill in which usage up to `end_ms` belongs."""
        if cycle is Cycle.HOUR:
            return -(-end_ms // HOUR_MS) * HOUR_MS + self.minute * MINUTE_MS
        return self._at(self._local(end_ms - 1) + timedelta(days=1), _DAILY)

    def billed(self, cycle: Cycle, run_ms: int) -> tuple[int, int]:
        """The hour or day, from and to, whose bill is made by a run at `run_ms`."""
        if cycle is Cycle.HOUR:
            end_ms = run_ms // HOUR_MS * HOUR_MS
            return end_ms - HOUR_MS, end_ms
        today = self._local(run_ms)
        return self._at(today - timedelta(days=1)), self._at(today)

    def period_start(self, period: Period, at_ms: int) -> int:
        """Where the hour, day or month that holds `at_ms` begins."""
        if period is Period.HOUR:
            return at_ms // HOUR_MS * HOUR_MS
        today = self._local(at_ms)
        return self._at(today.replace(day=1) if period is Period.MONTH else today)

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms // 1000, self.zone)

    def _at(self, day: datetime, clock: time = _MIDNIGHT) -> int:
        moment = datetime.combine(day.date(), clock, self.zone)
        return int(moment.timestamp()) * 1000
