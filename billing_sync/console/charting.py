"""Shapes what a chart shows, and its table with it. Pure.

`values` are for the drawing alone, which needs no more digits than the eye; `shown` has them all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from billing_sync.web.formatting import HOUR_MS, Times, number

MOST_SERIES: Final = 6


def hours(
    times: Times, first: int, end: int, series: Sequence[tuple[str, Mapping[int, int]]]
) -> dict[str, Any]:
    """Bars for the windows [first, end), each series a label and quantities by window."""
    windows = range(first, end)
    return {
        "kind": "bars",
        "times": [window * 3600 for window in windows],
        "ticks": [times.clock(window * HOUR_MS) for window in windows],
        "labels": [times.minute(window * HOUR_MS) for window in windows],
        "series": [
            {
                "label": label,
                "values": [by_window.get(window, 0) for window in windows],
                "shown": [number(by_window.get(window, 0)) for window in windows],
            }
            for label, by_window in series[:MOST_SERIES]
        ],
    }
