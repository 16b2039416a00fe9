"""When the marketplace collects."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.models import Cycle
from tallygate.simulator.prices import Period
from tallygate.simulator.schedule import Schedule, zone_named


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("now", "run"),
    [
        ("2026-09-21T14:00", "09-21T14:15"),
        ("2026-09-21T14:14:59.999", "09-21T14:15"),
        ("2026-09-21T14:15", "09-21T15:15"),
        ("2026-09-21T23:59", "09-22T00:15"),
    ],
)
def test_hourly(now, run):
    """Minute 15 of every hour."""
    assert shown(Schedule().next_run(Cycle.HOUR, at(now))) == run


@pytest.mark.parametrize(
    ("now", "run"),
    [
        ("2026-09-21T14:00", "09-21T17:00"),
        ("2026-09-21T16:59:59.999", "09-21T17:00"),
        ("2026-09-21T17:00", "09-22T17:00"),
    ],
)
def test_daily(now, run):
    """01:00 in Beijing is 17:00 UTC of the day before."""
    assert shown(Schedule().next_run(Cycle.DAY, at(now))) == run


def test_daily_elsewhere():
    """The zone is a setting; summer time moves the run."""
    berlin = Schedule(zone=zone_named("Europe/Berlin"))
    assert shown(berlin.next_run(Cycle.DAY, at("2026-01-10T12:00"))) == "01-11T00:00"
    assert shown(berlin.next_run(Cycle.DAY, at("2026-07-10T12:00"))) == "07-10T23:00"
    assert shown(Schedule(zone=zone_named("UTC")).next_run(Cycle.DAY, 0)) == "01-01T01:00"


@pytest.mark.parametrize(
    ("cycle", "end", "run"),
    [
        (Cycle.HOUR, "2026-09-21T14:00", "09-21T14:15"),
        (Cycle.HOUR, "2026-09-21T14:00:01", "09-21T15:15"),
        (Cycle.DAY, "2026-09-21T16:00", "09-21T17:00"),
        (Cycle.DAY, "2026-09-21T16:00:01", "09-22T17:00"),
    ],
)
def test_own_run(cycle, end, run):
    """What ends with the hour or day is in its bill."""
    assert shown(Schedule().own_run(cycle, at(end))) == run


@given(st.sampled_from(Cycle), st.integers(at("2020-01-01T00:00"), at("2030-01-01T00:00")))
def test_runs_and_bills_fit(cycle, now_ms):
    """A run makes the bill whose usage it is the own run of."""
    schedule = Schedule()
    run_ms = schedule.next_run(cycle, now_ms)
    start_ms, end_ms = schedule.billed(cycle, run_ms)
    assert now_ms < run_ms
    assert start_ms < end_ms <= run_ms
    assert schedule.own_run(cycle, end_ms) == schedule.own_run(cycle, start_ms + 1000) == run_ms


@pytest.mark.parametrize(
    ("period", "start"),
    [
        (Period.HOUR, "09-21T14:00"),
        (Period.DAY, "09-20T16:00"),
        (Period.MONTH, "08-31T16:00"),
    ],
)
def test_periods(period, start):
    """Days and months begin at midnight of the zone."""
    assert shown(Schedule().period_start(period, at("2026-09-21T14:30"))) == start


@pytest.mark.parametrize("name", ["Mars", "", "../etc", "Europe"])
def test_unknown_zone(name):
    """One line that says what would do."""
    with pytest.raises(BadRequest, match="Asia/Shanghai"):
        zone_named(name)
