"""Quantities held small are the mapping they stand for, and sum up to the same."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import quantities
from metering.quantities import Tally, compact, kind_of
from metering.usage import Grade, Quantity

METERS = st.sampled_from(["requests", "bytes_in", "bytes_out", "tokens_in", "tokens_out", "%d%s"])
GIVEN = st.dictionaries(
    METERS, st.builds(Quantity, st.integers(0, 10**15), st.sampled_from(Grade)), max_size=6
)


@given(GIVEN, GIVEN)
def test_they_are_the_mapping_they_stand_for(given: dict[str, Quantity], other: object) -> None:
    """In order, and equal to whatever says the same, on both sides."""
    small = compact(given)
    assert list(small.items()) == list(given.items())
    assert (len(small), bool(small)) == (len(given), bool(given))
    assert small == given
    assert given == small
    assert small == compact(dict(reversed(given.items())))
    assert (small == other) == (given == other)
    assert compact(small) is small
    assert [small.get(meter) for meter in "ab"] == [None, None]
    assert str(given) in repr(small)


@given(GIVEN, GIVEN)
def test_the_later_ones_count(first: dict[str, Quantity], later: dict[str, Quantity]) -> None:
    """As with dicts, where both state a meter."""
    led = compact(first)
    for _ in range(2):  # the second time from memory
        assert compact(later).behind(led.kind, led.amounts) == {**first, **later}


def test_an_unknown_meter_is_a_key_error() -> None:
    """As of any mapping."""
    with pytest.raises(KeyError):
        compact({"requests": Quantity(1)})["images"]


def test_kinds_are_shared_and_forgotten() -> None:
    """However many there are, in memory is a bounded number; those forgotten are still equal."""
    first = compact({"m0": Quantity(1)})
    assert compact({"m0": Quantity(2)}).kind is first.kind
    for number in range(5000):
        kind_of((f"m{number}",), (Grade.EXACT,))
        first.kind.followed_by(kind_of((f"n{number}",), (Grade.EXACT,)))
    assert len(quantities._kinds) <= 4096
    assert len(first.kind._joined) <= 4096
    again = compact({"m0": Quantity(1)})
    assert again == first
    tally = Tally()
    tally.add(first)
    tally.add(again)
    assert tally.by_meter() == {"m0": 2}


@settings(deadline=None, max_examples=50)
@given(st.lists(GIVEN, max_size=6), st.integers(1, 300), st.booleans())
def test_a_tally_adds_up(rows: list[dict[str, Quantity]], times: int, asked: bool) -> None:
    """Whenever it is asked, and however much waits to be summed."""
    tally, sums, readings = Tally(), Counter[str](), Counter[tuple[str, Grade]]()
    seen = set()
    for row in rows * times:
        small = compact(row)
        assert tally.add(small) == (small.kind not in seen)
        seen.add(small.kind)
        for meter, quantity in row.items():
            sums[meter] += quantity.value
            readings[meter, quantity.grade] += 1
        if asked:
            tally.by_meter()
    assert tally.by_meter() == dict(sums)
    counted = Counter[tuple[str, Grade]]()
    for kind, (count, _) in tally.by_kind().items():
        counted.update(dict.fromkeys(zip(kind.meters, kind.grades, strict=True), count))
    assert counted == readings
