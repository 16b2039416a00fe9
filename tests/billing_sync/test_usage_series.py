"""Usage as rows of hours and days: only what may be seen, each use once."""

from datetime import UTC
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.access import Access
from billing_sync.questions import Cell
from billing_sync.usage_csv import csv_of
from billing_sync.usage_series import DAYS, HOURS, series_of, starts_of, windows_of
from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, START

ALL = Access("c")
ONE = Access("c", frozenset({"i"}))
CELLS = {
    Cell(HOUR, "c", "", "tokens_total"): 30,
    Cell(HOUR, "c", "i", "tokens_total"): 20,
    Cell(HOUR, "c", "j", "tokens_total"): 10,
    Cell(HOUR, "c", "", "requests"): 3,
    Cell(HOUR - 5, "c", "", "tokens_total"): 7,
    Cell(HOUR, "other", "", "tokens_total"): 1000,
    Cell(HOUR, "other", "i", "tokens_total"): 1000,
}


def test_hours() -> None:
    """The last ones, the newest first; the customer's own totals, not what was charged twice."""
    starts = starts_of("hour", START + 60_000, UTC)
    series = series_of(CELLS, ALL, ["tokens_total", "requests"], "hour", starts)
    assert (len(series.rows), series.rows[0].start) == (HOURS, START)
    assert series.rows[0].quantities == (30, 3)
    assert series.rows[5].quantities == (7, 0)
    assert series.totals == (37, 3)
    assert windows_of(starts)[0] == HOUR - HOURS + 1


def test_one_instance() -> None:
    """Of several, and never another customer's of the same id."""
    starts = starts_of("hour", START, UTC)
    assert series_of(CELLS, ONE, ["tokens_total"], "hour", starts).totals == (20,)
    nothing = Access("c", frozenset())
    assert series_of(CELLS, nothing, ["tokens_total"], "hour", starts).totals == (0,)


def test_days_of_the_zone() -> None:
    """Begin at the site's midnight, also where clocks are changed."""
    shanghai = starts_of("day", START, ZoneInfo("Asia/Shanghai"))
    assert len(shanghai) == DAYS
    assert {(start + 8 * HOUR_MS) % (24 * HOUR_MS) for start in shanghai} == {0}
    october = 1_793_190_000_000  # 2026-10-28; Berlin's clocks were set back on the 25th
    berlin = starts_of("day", october, ZoneInfo("Europe/Berlin"))
    lengths = {one - other for one, other in pairwise(berlin)}
    assert lengths == {24 * HOUR_MS, 25 * HOUR_MS}


@given(
    st.dictionaries(st.integers(HOUR - 900, HOUR), st.integers(0, 10**12), max_size=20),
    st.sampled_from(["UTC", "Asia/Shanghai", "Asia/Kolkata", "America/St_Johns"]),
)
def test_every_hour_is_in_one_day(used: dict[int, int], zone: str) -> None:
    """Hours and days of a span have the same sum, also where a zone is half an hour off."""
    cells = {Cell(window, "c", "", "requests"): q for window, q in used.items()}
    starts = starts_of("day", START, ZoneInfo(zone))
    inside = sum(q for window, q in used.items() if window * HOUR_MS >= starts[-1])
    assert series_of(cells, ALL, ["requests"], "day", starts).totals == (inside,)


def test_a_file() -> None:
    """Within what may be seen, and no cell of it is a formula."""
    odd = {Cell(HOUR, "c", "=1+1", "tokens_total"): 5}
    assert csv_of(CELLS | odd, Access("c", frozenset({"i", "=1+1"}))).splitlines() == [
        "window_start,instance_id,meter,quantity",
        "2027-01-15T08:00:00Z,'=1+1,tokens_total,5",
        "2027-01-15T08:00:00Z,i,tokens_total,20",
    ]
    everything = csv_of(CELLS, ALL)
    assert "2027-01-15T08:00:00Z,,requests,3" in everything
    assert "1000" not in everything
