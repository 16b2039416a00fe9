"""Decides which window a delta is booked in. Pure.

A window that is closed has its records; usage that arrives for it goes to the window of now and is
marked `late`. A window more than five minutes ahead of the control clock is a clock's error, marked
`clock`. Wherever it is booked, usage keeps the window it happened in as its `origin`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metering.deltas import DeltaKey
from metering.windows import Window, end_ms, start_ms, window_of

AHEAD_MS: Final = 300_000


class UsageRow(NamedTuple):
    """One row to add: a delta with the window it is booked in, its mark, and its own window."""

    window: int
    customer_id: str
    instance_id: str
    route: str
    meter: str
    grade: str
    mark: str
    origin: int
    quantity: int


def book(deltas: Mapping[DeltaKey, int], *, closed_through: int, now_ms: int) -> list[UsageRow]:
    """The rows to add to the ledger. `closed_through` is the end of the last closed window in ms."""
    # A control clock behind the last close still books into a window that is open.
    current = max(window_of(now_ms), window_of(closed_through))
    rows = []
    for key, quantity in deltas.items():
        window, mark = _place(key.window, current, closed_through, now_ms)
        rows.append(
            UsageRow(
                window,
                key.customer_id,
                key.instance_id,
                key.route,
                key.meter,
                key.grade,
                mark,
                key.window,
                quantity,
            )
        )
    return rows


def _place(window: Window, current: int, closed_through: int, now_ms: int) -> tuple[int, str]:
    if end_ms(window) <= closed_through:
        return current, "late"
    if start_ms(window) > now_ms + AHEAD_MS:
        return current, "clock"
    return window, ""
