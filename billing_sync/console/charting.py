"""Shapes what a chart shows, and its table with it. Pure.

`values` are for the drawing alone, which needs no more digits than the eye; `shown` has them all.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from billing_sync.web.formatting import Times, number, trimmed
from metering.windows import HOUR_MS

MOST_SERIES: Final = 6


def hours(
    times: Times,
    first: int,
    end: int,
    series: Sequence[tuple[str, Mapping[int, int] | Mapping[int, Decimal]]],
    kind: str = "bars",
) -> dict[str, Any]:
    """Bars or lines for the windows [first, end), each series a label and quantities by window."""
    windows = range(first, end)
    return {
        "kind": kind,
        "times": [window * 3600 for window in windows],
        "ticks": [times.clock(window * HOUR_MS) for window in windows],
        "labels": [times.minute(window * HOUR_MS) for window in windows],
        "series": [
            {
                "label": label,
                "values": [str(by_window.get(window, 0)) for window in windows],
                "shown": [_shown(by_window.get(window, 0)) for window in windows],
            }
            for label, by_window in series[:MOST_SERIES]
        ],
    }


def _shown(quantity: int | Decimal) -> str:
    return trimmed(quantity) if isinstance(quantity, Decimal) else number(quantity)
