"""How often records are brought to Redis. Pure."""

from typing import Final

FLUSH_S: Final = 0.05
MOST_FLUSH_S: Final = 0.5
_CALL_S: Final = 0.008  # between two calls to Redis on the average: each costs the loop 0.1 ms


def pause_s(calls: int) -> float:
    """How long a flush is waited for after one that took so many calls.

    With many customers at once each flush is a call for each partition; the journal has it all
    meanwhile.
    """
    return min(MOST_FLUSH_S, max(FLUSH_S, _CALL_S * calls))
