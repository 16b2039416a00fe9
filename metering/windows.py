"""UTC hours: half-open windows `[start, end)`, named by hours since the Unix epoch."""

from typing import Final, NewType

Window = NewType("Window", int)

HOUR_MS: Final = 3_600_000


def window_of(time_ms: int) -> Window:
    """The window a time in ms falls into."""
    return Window(time_ms // HOUR_MS)


def start_ms(window: Window) -> int:
    """The first millisecond of the window."""
    return window * HOUR_MS


def end_ms(window: Window) -> int:
    """The first millisecond after the window."""
    return (window + 1) * HOUR_MS
