"""Time formats of the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.times import (
    format_compact_time,
    format_record_time,
    parse_compact_time,
    parse_record_time,
)

SECONDS = st.integers(0, 4_000_000_000)


@given(SECONDS)
def test_record_time_round_trip(second):
    """Whole seconds survive."""
    assert parse_record_time(format_record_time(second * 1000 + 999)) == second * 1000


@given(SECONDS, st.integers(0, 999))
def test_compact_time_round_trip(second, millis):
    """With three more digits also the milliseconds survive."""
    text = format_compact_time(second * 1000)
    assert parse_compact_time(text) == second * 1000
    assert parse_compact_time(f"{text}{millis:03d}") == second * 1000 + millis


def test_known_moment():
    """UTC, not local time."""
    assert parse_record_time("20220809T080000Z") == 1_660_032_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20220809080000",
        "2022-08-09T08:00:00Z",
        "20220809T080000z",
        "20221309T080000Z",
        "20220230T080000Z",
        "20220809T080060Z",
        " 20220809T080000Z",
        "٢٠٢٢٠٨٠٩T080000Z",
        20220809,
        None,
    ],
)
def test_not_a_record_time(text):
    """Anything else is None."""
    assert parse_record_time(text) is None


@pytest.mark.parametrize(
    "text", ["", "2022080908000", "2022080908000012", "20229999000000", None, 1]
)
def test_not_a_compact_time(text):
    """Fourteen or seventeen digits of a real moment, else None."""
    assert parse_compact_time(text) is None
