"""Figures that are looked up only now and then."""

import pytest

from billing_sync.fresh import FRESH_MS, Fresh
from tests.fakes import FakeClock


def test_a_look_lasts_for_some_seconds() -> None:
    """Also where the clock goes back it is looked again."""
    clock = FakeClock()
    looks: list[int] = []

    def look(now_ms: int) -> int:
        looks.append(now_ms)
        return len(looks)

    fresh = Fresh(look, clock)
    assert [fresh.now(), fresh.now()] == [1, 1]
    clock.advance(ms=FRESH_MS - 1)
    assert fresh.now() == 1
    clock.advance(ms=1)
    assert fresh.now() == 2
    clock.advance(ms=-1)
    assert fresh.now() == 3


def test_a_look_that_fails_is_made_again() -> None:
    """Whoever asked hears of it."""
    answers = iter((True, False))

    def look(_: int) -> int:
        if next(answers):
            raise OSError("away")
        return 7

    fresh = Fresh(look, FakeClock())
    with pytest.raises(OSError, match="away"):
        fresh.now()
    assert fresh.now() == 7
