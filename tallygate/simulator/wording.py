"""What the console's interface debugging shows for a finding (spec §9, column "error shown"). Pure.

Findings of rules that no known case of the console checks have no words there.
"""

from collections.abc import Mapping
from typing import Final

from .findings import Finding

_SHOWN: Final[Mapping[str, str]] = {
    "reachable": "production address unreachable",
    "in-time": "time-out 20 s",
    "content-type": "content type wrong",
    "parse": "parse failed",
    "result-code": "production interface returned an error",
    "body-sign": "signature check",
    "statistical-time": "reply lacks statisticalTime",
    "usage-value": "reply lacks usageValue",
}
_LACKING: Final = ("field", "info")


def shown_for(finding: Finding) -> str:
    """The marketplace's words; empty where only we would notice."""
    if finding.check == "status":
        return finding.message.partition(",")[0]
    if "time-out" in finding.message:
        return _SHOWN["in-time"]
    if finding.check in _LACKING:
        return _lacking(finding.message)
    return _SHOWN.get(finding.check, "")


def _lacking(message: str) -> str:
    if message.startswith("resultMsg is"):
        return _SHOWN["parse"]  # check 5 wants it in the body
    name, is_, _ = message.partition(" is missing")
    if is_:
        return f"reply lacks {name}"
    return "reply lacks info" if message.startswith(("reply lacks", "info has no")) else ""
