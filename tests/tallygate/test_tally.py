from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.demo.tally import STATIONS, Row, in_meter_units, rows

counts = st.dictionaries(st.sampled_from(STATIONS), st.integers(0, 10**12) | st.none(), min_size=1)


def test_stations_that_agree_differ_by_nothing() -> None:
    """Who cannot know the meter has no say."""
    assert Row("requests", {"client": 5, "upstream": 5, "pushed": None}).difference == 0


def test_the_difference_is_the_largest_between_any_two() -> None:
    """Wherever in the row they stand."""
    assert Row("requests", {"client": 5, "upstream": 7, "pushed": 4}).difference == 3


@given(counts.filter(lambda counts: any(n is not None for n in counts.values())))
def test_only_equal_stations_differ_by_nothing(counts: dict[str, int | None]) -> None:
    """Zero means that all who know the meter say the same."""
    known = {count for count in counts.values() if count is not None}
    assert (Row("m", counts).difference == 0) == (len(known) == 1)


def test_each_meter_gets_a_row_of_every_station() -> None:
    """What a station did not count is None, in JSON too; zero is a count."""
    (row,) = rows({"client": {"tokens_in": 3}, "pushed": {"tokens_in": 0}}, ["tokens_in"])
    assert row.as_json() == {
        **dict.fromkeys(STATIONS),
        "meter": "tokens_in",
        "client": 3,
        "pushed": 0,
        "difference": 3,
    }


@given(quantity=st.integers(0, 10**12), unit=st.sampled_from([1, 10, 100, 1000, 10_000]))
def test_billing_units_are_turned_back_exactly(quantity: int, unit: int) -> None:
    """As text with four decimals, as it travels."""
    text = f"{Decimal(quantity) / unit:.4f}"
    assert in_meter_units(text, unit) == quantity


def test_a_json_number_is_read_as_it_is_written() -> None:
    """0.585 is no binary fraction, and 585 tokens are."""
    assert in_meter_units(0.585, 1000) == 585


def test_a_broken_figure_is_an_error() -> None:
    """Half a token was never counted."""
    with pytest.raises(ValueError, match="no whole number"):
        in_meter_units("0.5", 1)
