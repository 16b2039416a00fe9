"""How long what is left of a package lasts, if it goes on as it went lately. Pure.

An outlook, not a promise: it looks at whole days back, and is rounded down.
"""

from typing import Final

from metering.windows import HOUR_MS

LOOK_BACK_HOURS: Final = 7 * 24
_DAY_MS: Final = 86_400_000
_LONGEST_DAYS: Final = 3650


def days_to_empty(left: int, used: int, *, since_ms: int, now_ms: int) -> int | None:
    """Whole days; None where nothing was used, or it lasts for ten years.

    `used` is what was taken from `since_ms` on; less than an hour tells nothing.
    """
    if left <= 0:
        return 0
    over = now_ms - since_ms
    if used <= 0 or over < HOUR_MS:
        return None
    days = left * over // (used * _DAY_MS)
    return days if days < _LONGEST_DAYS else None
