from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_sync.records import (
    MAX_STEPS,
    SCALE,
    Drafts,
    Part,
    Remainder,
    down_to_second,
    draft,
    metering_sn,
    up_to_second,
    value_of,
)

HOUR = 3_600_000


def must(drafts: Drafts | None) -> Drafts:
    assert drafts is not None
    return drafts


def test_an_hour_is_one_record() -> None:
    """12,345 tokens at 1000 a unit are 12.3450 units over the whole hour."""
    (record,) = must(draft([Part("", 12_345)], begin=0, end=HOUR, unit=1000)).records
    assert (record.begin, record.end, record.value) == (0, HOUR, Decimal("12.3450"))
    assert str(record.value) == "12.3450"


def test_the_remainder_is_carried_exactly() -> None:
    """A third of a unit is 0.3333; three of them are a whole one."""
    rest = Remainder(0, 0)
    values = []
    for _ in range(3):
        drafts = must(draft([Part("", 1, *rest)], begin=0, end=HOUR, unit=3))
        values += [record.value for record in drafts.records]
        rest = drafts.remainders[""]
    assert sum(values) == 1
    assert rest == Remainder(0, 0)


def test_nothing_below_four_decimals_is_pushed() -> None:
    """A quantity too small for 0.0001 makes no record and waits for the next one."""
    drafts = must(draft([Part("", 60)], begin=0, end=HOUR, unit=1_000_000))
    assert not drafts.records
    assert drafts.remainders == {"": Remainder(60 * SCALE, 60)}
    drafts = must(draft([Part("", 50, *drafts.remainders[""])], begin=0, end=HOUR, unit=1_000_000))
    (record,) = drafts.records
    assert (record.quantity, record.value) == (110, Decimal("0.0001"))
    assert drafts.remainders == {"": Remainder(10 * SCALE, 0)}


def test_what_was_pushed_beforehand_is_set_off() -> None:
    """A remainder below zero, as a recovery may leave, never makes a value below zero."""
    drafts = must(draft([Part("", 5, carry=-7 * SCALE, waiting=2)], begin=0, end=HOUR, unit=1))
    assert not drafts.records
    assert drafts.remainders == {"": Remainder(-2 * SCALE, 7)}
    drafts = must(draft([Part("", 3, *drafts.remainders[""])], begin=0, end=HOUR, unit=1))
    assert [(record.quantity, record.value) for record in drafts.records] == [(10, Decimal(1))]
    assert drafts.remainders == {"": Remainder(0, 0)}


def test_slices_lie_one_after_the_other() -> None:
    """Each package gets its own interval, at least a second long, in proportion."""
    drafts = must(draft([Part("pkg", 300), Part("next", 100)], begin=0, end=HOUR, unit=1))
    first, second = drafts.records
    assert (first.begin, first.end, first.package_id) == (0, 2_700_000 - 1000, "pkg") or (
        first.end == second.begin
    )
    assert second.end == HOUR
    assert second.package_id == "next"
    assert 2_600_000 < first.end < 2_800_000


def test_a_plain_part_gets_all_the_seconds_that_others_can_spare() -> None:
    """Else it could lie inside the life of a package that has to be named there (spec §8.4)."""
    parts = [Part("a", 300), Part("", 1), Part("b", 300)]
    drafts = must(draft(parts, begin=0, end=HOUR, unit=1))
    bounds = [(record.begin, record.end) for record in drafts.records]
    assert bounds == [(0, 1000), (1000, HOUR - 1000), (HOUR - 1000, HOUR)]


def test_no_room_is_said() -> None:
    """Two records do not fit into one second."""
    assert draft([Part("pkg", 3), Part("", 7)], begin=0, end=1000, unit=1) is None
    assert draft([Part("", 7)], begin=1000, end=1000, unit=1) is None


def test_values_above_the_maximum_are_split() -> None:
    """The platform takes at most 99,999,999.9999 in a record."""
    drafts = must(draft([Part("", 250_000_000)], begin=0, end=HOUR, unit=1))
    assert sum(record.value for record in drafts.records) == 250_000_000
    assert sum(record.quantity for record in drafts.records) == 250_000_000
    assert len(drafts.records) == 3
    assert draft([Part("", 10**18)], begin=0, end=HOUR, unit=1) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**12), st.integers(0, 10**4)), min_size=1, max_size=4),
    st.integers(1, 10**7),
    st.integers(0, 10**6),
)
def test_every_record_is_one_the_platform_takes(
    amounts: list[tuple[int, int]], unit: int, begin_s: int
) -> None:
    """Positive, four decimals, bounded, distinct adjoining intervals; nothing lost to rounding."""
    parts = [Part(f"p{n}", quantity, carry) for n, (quantity, carry) in enumerate(amounts)]
    drafts = draft(parts, begin=begin_s * 1000, end=begin_s * 1000 + HOUR, unit=unit)
    if drafts is None:
        needed = sum((p.quantity * SCALE + p.carry) // unit // MAX_STEPS for p in parts)
        assert needed > 3600 - len(parts)
        return
    places = [begin_s * 1000]
    for record in drafts.records:
        assert 0 < record.value <= Decimal("99999999.9999")
        assert -record.value.as_tuple().exponent <= 4  # type: ignore[operator]
        assert record.end - record.begin >= 1000
        assert record.begin == places[-1]
        places.append(record.end)
    for part in parts:
        pushed = sum(r.value for r in drafts.records if r.package_id == part.package_id)
        left = drafts.remainders[part.package_id]
        rest = Decimal(left.carry) / SCALE
        assert pushed * unit + rest == part.quantity + Decimal(part.carry) / SCALE
        assert rest * SCALE < unit
        covered = sum(r.quantity for r in drafts.records if r.package_id == part.package_id)
        assert covered + left.waiting == part.quantity


@given(st.integers(0, 10**15), st.integers(1, 10**6))
def test_shown_values_are_rounded_down(quantity: int, unit: int) -> None:
    """A figure never promises more than was used."""
    shown = value_of(quantity, unit)
    assert shown * unit <= quantity < (shown + Decimal("0.0001")) * unit


def test_ids_depend_on_what_the_platform_dedupes_on() -> None:
    """The same interval is the same record, another is another."""
    assert metering_sn("i", 0, 1000) == metering_sn("i", 0, 1000)
    assert (
        len({metering_sn("i", 0, 1000), metering_sn("i", 0, 2000), metering_sn("j", 0, 1000)}) == 3
    )
    assert len(metering_sn("i", 0, 1000)) <= 64


@pytest.mark.parametrize(
    ("time", "up", "down"), [(0, 0, 0), (1, 1000, 0), (999, 1000, 0), (1000, 1000, 1000)]
)
def test_times_are_whole_seconds(time: int, up: int, down: int) -> None:
    """The wire has no milliseconds."""
    assert (up_to_second(time), down_to_second(time)) == (up, down)
