from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.packages import (
    OVERSHOOT,
    Allocation,
    Balance,
    after,
    deduct,
    in_order,
    quota_in_meter_units,
)

balances = st.lists(
    st.builds(
        Balance,
        st.integers(0, 10**6).map(str),
        st.integers(-5, 1000),
        st.booleans(),
        st.integers(0, 10),
        st.integers(0, 10),
    ),
    max_size=5,
    unique_by=lambda balance: balance.package_id,
)


def test_the_package_that_expires_first_is_used_first() -> None:
    """Never-expiring packages come last, equal expiries by age."""
    a = Balance("a", 10, False, 0, 1)
    b = Balance("b", 10, False, 200, 2)
    c = Balance("c", 10, False, 200, 1)
    d = Balance("d", 10, False, 100, 9)
    assert [x.package_id for x in in_order([a, b, c, d])] == ["d", "c", "b", "a"]


def test_usage_runs_from_one_package_into_the_next() -> None:
    """15 from 10 and 10 leaves 5."""
    held = [Balance("a", 10, False, 1, 1), Balance("b", 10, False, 2, 1)]
    assert deduct(15, held) == [Allocation("a", 10), Allocation("b", 5)]


def test_what_ordinary_packages_do_not_cover_is_pay_per_use() -> None:
    """The rest is in no allocation."""
    assert deduct(15, [Balance("a", 10, False, 1, 1)]) == [Allocation("a", 10)]
    assert deduct(15, []) == []


def test_beyond_a_package_that_stops_is_overshoot() -> None:
    """It is named, not billed as pay-per-use."""
    assert deduct(15, [Balance("a", 10, True, 1, 1)]) == [
        Allocation("a", 10),
        Allocation(OVERSHOOT, 5),
    ]
    assert deduct(5, [Balance("a", 0, True, 1, 1)]) == [Allocation(OVERSHOOT, 5)]


def test_quota_is_in_billing_units() -> None:
    """100.5 units of 1000 tokens are 100,500 tokens."""
    assert quota_in_meter_units(Decimal("100.5"), 1000) == 100_500


@given(st.integers(0, 10_000), balances)
def test_nothing_is_deducted_twice_or_beyond_a_balance(quantity: int, held: list[Balance]) -> None:
    """Allocations never exceed the usage or a balance."""
    taken = deduct(quantity, in_order(held))
    assert sum(part.quantity for part in taken) <= quantity
    left = {balance.package_id: max(balance.left, 0) for balance in held}
    for part in taken:
        assert part.quantity > 0
        if part.package_id != OVERSHOOT:
            assert part.quantity <= left[part.package_id]
    if any(balance.stop_before_excess for balance in held):
        assert sum(part.quantity for part in taken) == quantity


def test_balances_after_a_deduction() -> None:
    """Less what was taken from each; overshoot is taken from none."""
    held = [Balance("a", 10, True, 1, 1), Balance("b", 10, True, 2, 1)]
    assert [b.left for b in after(held, deduct(13, held))] == [0, 7]
    assert [b.left for b in after(held, deduct(99, held))] == [0, 0]
