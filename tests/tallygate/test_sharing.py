import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.sharing import Share, new_board


@pytest.fixture
def board() -> Iterator[int]:
    """Of three workers."""
    handle = new_board(3)
    yield handle
    os.close(handle)


def test_who_has_clearly_more_than_another_is_ahead(board: int) -> None:
    """A few more do not count: nobody would get any further."""
    one, other, third = (Share(board, index) for index in range(3))
    assert not one.ahead()
    one.have(2)
    assert not one.ahead()
    one.have(3)
    assert one.ahead()
    other.have(30)
    third.have(30)
    assert not one.ahead()
    assert other.ahead()


def test_who_starts_again_has_none(board: int) -> None:
    """What his predecessor had was cut with him."""
    one, other = Share(board, 0), Share(board, 1)
    Share(board, 2).have(50)
    one.have(50)
    other.have(50)
    assert not one.ahead()
    Share(board, 1)
    assert one.ahead()


@given(st.integers(1, 64), st.integers(2, 8))
def test_taking_turns_is_fair(rounds: int, workers: int) -> None:
    """Whoever is asked first each time: nobody ends with much more than another."""
    handle = new_board(workers)
    shares, held = [Share(handle, index) for index in range(workers)], [0] * workers
    for _ in range(rounds * workers):
        first = next(n for n, share in enumerate(shares) if not share.ahead())
        held[first] += 1
        shares[first].have(held[first])
    assert max(held) - min(held) <= 3 + max(held) // 32
    os.close(handle)
