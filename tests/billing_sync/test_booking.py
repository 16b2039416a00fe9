from billing_sync.booking import AHEAD_MS, book
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import HOUR_MS, Window


def booked(window: int, *, closed_through: int, now_ms: int) -> tuple[int, str]:
    key = DeltaKey(Window(window), "c", "i", "chat", "tokens_in", Grade.EXACT)
    (row,) = book({key: 5}, closed_through=closed_through, now_ms=now_ms)
    assert (row.quantity, row.origin) == (5, window)  # wherever it is booked
    return row.window, row.mark


def test_an_open_window_keeps_its_usage() -> None:
    """The hour before this one stays itself until it is closed."""
    assert booked(9, closed_through=9 * HOUR_MS, now_ms=10 * HOUR_MS + 1) == (9, "")


def test_usage_for_a_closed_window_is_late() -> None:
    """It is booked now, where a record can still carry it."""
    assert booked(9, closed_through=10 * HOUR_MS, now_ms=10 * HOUR_MS + 1) == (10, "late")


def test_a_window_far_ahead_is_a_clocks_error() -> None:
    """Five minutes of drift are believed, more is not."""
    now = 10 * HOUR_MS
    assert booked(11, closed_through=0, now_ms=now) == (10, "clock")
    assert booked(11, closed_through=0, now_ms=11 * HOUR_MS - AHEAD_MS) == (11, "")


def test_a_control_clock_behind_the_last_close_books_into_an_open_window() -> None:
    """Late usage never lands in a window that is closed."""
    assert booked(3, closed_through=12 * HOUR_MS, now_ms=10 * HOUR_MS) == (12, "late")
