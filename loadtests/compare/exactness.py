"""Whether what was counted is what was served: the journal's requests beside the origin's and the client's.

A load generator hangs up on what is open when its time is over. Such a call may have reached the
origin or not; so the count lies between the replies that clients have had and the calls that the
origin has read, and where nobody hung up all three are equal.
"""

import time
from typing import Any, Final

import httpx

_SETTLE_S: Final = 30.0
_CALM: Final = 3  # looks in a row without an open call


def wrong(replied: int, counted: int, answered: int) -> str:
    """What is wrong with the count, or nothing."""
    if counted < replied:
        return f"LOST: {replied} replies, {counted} counted"
    if counted > answered:
        return f"COUNTED TWICE: the origin read {answered} calls, {counted} counted"
    return ""


def counted(admin: str) -> tuple[int, int]:
    """Requests in the journal's records that used something, and all of its records.

    Waits for the calls whose clients left: the gateway may go on with them to learn what they use.
    """
    limit = time.monotonic() + _SETTLE_S
    calm = 0
    said = _journal(admin)
    while calm < _CALM and time.monotonic() < limit:
        time.sleep(0.1)
        said = _journal(admin)
        calm = 0 if said["open_requests"] else calm + 1
    return int(said["quantities"].get("requests", 0)), int(said["records"])


def _journal(admin: str) -> dict[str, Any]:
    said: dict[str, Any] = httpx.get(f"{admin}/-/journal", timeout=10, trust_env=False).json()
    return said
