"""Whether what was counted is what was served: the journal's requests beside the origin's and the client's.

A load generator hangs up on what is open when its time is over. Such a call may have reached the
origin or not; so the count lies between the replies that clients have had and the calls that the
origin has read, and where nobody hung up all three are equal.
"""

import json
import time
from typing import Any, Final
from urllib.request import urlopen

_SETTLE_S: Final = 15.0


def wrong(replied: int, counted: int, answered: int) -> str:
    """What is wrong with the count, or nothing."""
    if counted < replied:
        return f"LOST: {replied} replies, {counted} counted"
    if counted > answered:
        return f"COUNTED TWICE: the origin read {answered} calls, {counted} counted"
    return ""


def counted(admin: str, expected: int) -> int:
    """Requests in the journal's records that used something, once no call is open.

    Waits a while for the expected number.
    """
    limit = time.monotonic() + _SETTLE_S
    said = _journal(admin)
    while time.monotonic() < limit and (said["open_requests"] or _requests(said) != expected):
        time.sleep(0.1)
        said = _journal(admin)
    return _requests(said)


def _requests(said: dict[str, Any]) -> int:
    return int(said["quantities"].get("requests", 0))


def _journal(admin: str) -> dict[str, Any]:
    with urlopen(f"{admin}/-/journal", timeout=10) as reply:
        said: dict[str, Any] = json.load(reply)
    return said
