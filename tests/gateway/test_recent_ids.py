"""Ids that come again within ten minutes are known, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.recent_ids import SLICES, WINDOW_MS, RecentIds


def test_an_id_comes_again() -> None:
    """The first time it does not; of another one nothing is known."""
    recent = RecentIds()
    assert not recent.comes_again("a", 0)
    assert not recent.comes_again("b", 1)
    assert recent.comes_again("a", 2)
    assert recent.repeats == 1


def test_it_is_forgotten_after_ten_minutes_or_a_little_later() -> None:
    """A tenth of the window, at most."""
    for later, known in (
        (0, True),
        (WINDOW_MS, True),
        (WINDOW_MS + WINDOW_MS // SLICES + 1, False),
    ):
        recent = RecentIds()
        recent.comes_again("a", 1000)
        assert recent.comes_again("a", 1000 + later) is known


def test_the_last_time_counts() -> None:
    """Whoever repeats it all the time is noticed each time."""
    recent = RecentIds()
    recent.comes_again("a", 0)
    assert all(recent.comes_again("a", turn * WINDOW_MS) for turn in range(1, 9))


def test_memory_is_bounded() -> None:
    """Past it the oldest are forgotten, and that is counted."""
    recent = RecentIds(most=110)
    for number in range(1000):
        assert not recent.comes_again(str(number), number)
        assert len(recent) <= 110
    assert recent.forgotten == 1000 - len(recent)
    assert recent.comes_again("999", 1000)
    assert recent.comes_again("950", 1000)
    assert not recent.comes_again("0", 1000)


def test_a_clock_that_is_set_back_forgets_nothing() -> None:
    """What was counted later is still known."""
    recent = RecentIds()
    recent.comes_again("a", WINDOW_MS * 5)
    assert recent.comes_again("a", 0)


@given(st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from("abcdefgh")), max_size=60))
def test_whatever_comes_within_the_window_is_known(calls: list[tuple[int, str]]) -> None:
    """And what is older than the window and a tenth is not, for any calls."""
    recent, last, now_ms = RecentIds(), dict[str, int](), 0
    for wait_ms, name in calls:
        now_ms += wait_ms
        age_ms = now_ms - last[name] if name in last else None
        again = recent.comes_again(name, now_ms)
        if age_ms is None or age_ms > WINDOW_MS + WINDOW_MS // SLICES:
            assert not again
        elif age_ms <= WINDOW_MS:
            assert again
        last[name] = now_ms
