from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.packages import (
    NEVER,
    OVERSHOOT,
    WAITING,
    Allocation,
    Balance,
    Moment,
    Span,
    after,
    deduct,
    freezes,
    in_order,
    moment_of,
    quota_in_meter_units,
    slices,
)
from metering.windows import HOUR_MS

NOW = Moment(50, 40, 50)


def package(package_id: str, left: int, *, stop: bool = False, **more: Any) -> Balance:
    """One that never ends and began at 1."""
    return Balance(package_id, left, stop, 0, 1)._replace(**more)


balances = st.lists(
    st.builds(
        Balance,
        st.integers(0, 10**6).map(str),
        st.integers(-5, 1000),
        st.booleans(),
        st.integers(0, 60),
        st.integers(0, 60),
        st.integers(0, 60),
        st.lists(st.builds(Span, st.integers(0, 60), st.integers(0, 60)), max_size=2).map(tuple),
        st.sampled_from(["absorb", "next_package", "pay_per_use"]),
    ),
    max_size=5,
    unique_by=lambda balance: balance.package_id,
)
moments = st.builds(Moment, st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))


def test_the_package_that_expires_first_is_used_first() -> None:
    """Never-expiring packages come last, equal expiries by age, equal ages by id."""
    a = Balance("a", 10, False, 0, 1)
    b = Balance("b", 10, False, 200, 2)
    c = Balance("c", 10, False, 200, 1)
    d = Balance("d", 10, False, 100, 9)
    e = Balance("e", 10, False, 100, 9)
    assert [x.package_id for x in in_order([a, b, c, e, d])] == ["d", "e", "c", "b", "a"]


def test_usage_runs_from_one_package_into_the_next() -> None:
    """15 from 10 and 10 leaves 5."""
    held = [package("a", 10), package("b", 10)]
    assert deduct(15, held, NOW) == [Allocation("a", 10), Allocation("b", 5)]


def test_what_ordinary_packages_do_not_cover_is_pay_per_use() -> None:
    """The rest is in no allocation."""
    assert deduct(15, [package("a", 10)], NOW) == [Allocation("a", 10)]
    assert deduct(15, [], NOW) == []


@pytest.mark.parametrize(
    ("policy", "rest"),
    [
        ("absorb", [Allocation(OVERSHOOT, 5)]),
        ("next_package", [Allocation(WAITING, 5)]),
        ("pay_per_use", []),
    ],
)
def test_beyond_a_package_that_stops_its_policy_decides(
    policy: str, rest: list[Allocation]
) -> None:
    """Nobody pays, or it waits, or it is pay-per-use after all."""
    held = package("a", 10, stop=True, overshoot=policy)
    assert deduct(15, [held], NOW) == [Allocation("a", 10), *rest]
    assert deduct(5, [held._replace(left=0)], NOW) == rest


def test_the_last_of_several_decides() -> None:
    """The order is that of deduction; ordinary packages have no say."""
    held = [
        package("a", 0, stop=True),
        package("b", 0, stop=True, overshoot="next_package"),
        package("c", 0),
    ]
    assert deduct(5, held, NOW) == [Allocation(WAITING, 5)]


@pytest.mark.parametrize(
    ("life", "gives", "stops"),
    [
        ({}, True, True),
        ({"started": 50}, True, True),
        ({"started": 51}, False, False),
        ({"expires": 51}, True, True),
        ({"expires": 50}, False, True),
        ({"released": 51}, True, True),
        ({"released": 50}, False, False),
        ({"frozen": (Span(20, 30),)}, True, True),
        ({"frozen": (Span(50, 51),)}, False, True),
        ({"frozen": (Span(20, NEVER),)}, False, True),
    ],
)
def test_a_package_gives_while_it_lives(life: dict[str, Any], gives: bool, stops: bool) -> None:
    """From its start, until it expires, is frozen or released; it keeps the buyer from being charged
    until it is released."""
    ordinary, stopping = package("a", 10, **life), package("a", 10, stop=True, **life)
    assert deduct(10, [ordinary], NOW) == ([Allocation("a", 10)] if gives else [])
    expected = [Allocation("a" if gives else OVERSHOOT, 10)] if stops else []
    assert deduct(10, [stopping], NOW) == expected


def test_a_record_that_could_only_lie_inside_a_package_is_overshoot() -> None:
    """Late usage of before its start, billed in a window that it lived through: a record of it would
    have to name a package."""
    late = Moment(used=30, begin=40, last=45)
    assert deduct(5, [package("a", 10, stop=True, started=35)], late) == [Allocation(OVERSHOOT, 5)]
    assert deduct(5, [package("a", 10, stop=True, started=41)], late) == []
    assert deduct(5, [package("a", 10, stop=True, started=35, released=45)], late) == []


def test_usage_is_judged_at_the_last_moment_it_can_have_happened() -> None:
    """Now in the current hour, the last millisecond of an earlier one, however late it is booked."""
    now = 10 * HOUR_MS + 7
    assert moment_of(10, 10, now) == (now, 10 * HOUR_MS, now)
    assert moment_of(9, 9, now) == (10 * HOUR_MS - 1, 9 * HOUR_MS, 10 * HOUR_MS - 1)
    assert moment_of(8, 10, now) == (9 * HOUR_MS - 1, 10 * HOUR_MS, now)
    assert moment_of(12, 10, now).used == now


def test_freezes_are_read_from_the_callbacks() -> None:
    """Frozen twice is frozen; frozen without saying since when is always."""
    history = [(5, True), (6, True), (9, False), (10, False), (12, True)]
    assert freezes(history, is_frozen=True) == ((5, 9), (12, NEVER))
    assert freezes(history[:4], is_frozen=False) == ((5, 9),)
    assert freezes([], is_frozen=True) == ((0, NEVER),)
    assert freezes([], is_frozen=False) == ()


def test_quota_is_in_billing_units() -> None:
    """100.5 units of 1000 tokens are 100,500 tokens; a part of a token is never given."""
    assert quota_in_meter_units(Decimal("100.5"), 1000) == 100_500
    assert quota_in_meter_units(Decimal("0.3339"), 1000) == 333
    assert quota_in_meter_units(Decimal("0.3339"), 1000, 10) == 3339


@given(st.decimals("0.0001", 10**12, places=4), st.integers(1, 10**12), st.integers(1, 10**9))
def test_quotas_are_exact(quota: Decimal, unit: int, times: int) -> None:
    """Also beyond the 28 digits of Decimal: the largest whole quantity that is within it."""
    given_ = quota_in_meter_units(quota, unit, times)
    steps = int(quota.scaleb(4)) * unit * times
    assert given_ * 10_000 <= steps < (given_ + 1) * 10_000


@given(st.integers(0, 10_000), balances, moments)
def test_nothing_is_deducted_twice_or_beyond_a_balance(
    quantity: int, held: list[Balance], moment: Moment
) -> None:
    """Allocations never exceed the usage or a balance, and come from usable packages only."""
    taken = deduct(quantity, in_order(held), moment)
    assert sum(part.quantity for part in taken) <= quantity
    by_id = {balance.package_id: balance for balance in held}
    assert len({part.package_id for part in taken}) == len(taken)
    for part in taken:
        assert part.quantity > 0
        if part.package_id not in (OVERSHOOT, WAITING):
            assert part.quantity <= by_id[part.package_id].left
            assert by_id[part.package_id].is_usable(moment.used)
    left = [b.left for b in after(held, taken)]
    assert all(now >= min(before.left, 0) for now, before in zip(left, held, strict=True))


def test_balances_after_a_deduction() -> None:
    """Less what was taken from each; overshoot is taken from none."""
    held = [package("a", 10, stop=True), package("b", 10, stop=True)]
    assert [b.left for b in after(held, deduct(13, held, NOW))] == [0, 7]
    assert [b.left for b in after(held, deduct(99, held, NOW))] == [0, 0]


def test_slices_are_no_more_than_the_usage() -> None:
    """In the order of their packages, what is beyond them last; ordinary packages have none."""
    gave = {"b": 5, "a": 3, "ordinary": 9, OVERSHOOT: 4, WAITING: 2}
    parts = slices(11, gave, ["a", "b"])
    assert list(parts.items()) == [("a", 3), ("b", 5), (OVERSHOOT, 3)]
    assert slices(99, gave, ["a", "b"]) == {"a": 3, "b": 5, OVERSHOOT: 4, WAITING: 2}
