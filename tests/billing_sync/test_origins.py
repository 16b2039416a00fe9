from hypothesis import given
from hypothesis import strategies as st

from billing_sync import origins
from billing_sync.origins import Origins

many = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 99)), max_size=8).map(origins.of)


def test_the_oldest_first() -> None:
    """Windows ascending, each once, none without a quantity."""
    assert origins.of([(7, 1), (5, 2), (7, 3), (6, 0)]) == ((5, 2), (7, 4))
    assert origins.split(((5, 2), (7, 4)), 3) == (((5, 2), (7, 1)), ((7, 3),))


@given(many, st.integers(0, 999))
def test_a_split_loses_nothing(amounts: Origins, quantity: int) -> None:
    """As much as asked for, as far as there is so much, and the two add up."""
    first, rest = origins.split(amounts, quantity)
    assert origins.total(first) == min(quantity, origins.total(amounts))
    assert origins.of([*first, *rest]) == amounts
    assert not first or not rest or first[-1][0] <= rest[0][0]


@given(many, many)
def test_what_two_have_in_common(one: Origins, other: Origins) -> None:
    """Taken away from both, no window is in both."""
    common = origins.common(one, other)
    assert common == origins.common(other, one)
    left, right = origins.without(one, common), origins.without(other, common)
    assert not dict(left).keys() & dict(right).keys()
    assert all(quantity > 0 for _, quantity in [*left, *right])


@given(many)
def test_text_and_back(amounts: Origins) -> None:
    """As it stands in SQL."""
    assert origins.decode(origins.encode(amounts)) == amounts
