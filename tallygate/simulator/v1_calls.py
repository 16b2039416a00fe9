"""A V1.0 call, well made or spoilt in one named way (spec §3.1). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from .tampering import AUTH_FAILED, BAD_PARAMETER, STALE_MS
from .times import DAY_MS, format_compact_time
from .v1_signing import TIME_STAMP, TOKEN, auth_token

# The documents name no code for a time that is missing or far away: either refusal will do.
V1_EXPECTED: Final[Mapping[str, frozenset[str]]] = {
    "signature": AUTH_FAILED,
    "missing_signature": AUTH_FAILED,
    "body": AUTH_FAILED,
    "timestamp": AUTH_FAILED | BAD_PARAMETER,
    "future_timestamp": AUTH_FAILED | BAD_PARAMETER,
    "missing_timestamp": AUTH_FAILED | BAD_PARAMETER,
}
_SHIFTS: Final = {"timestamp": -30 * DAY_MS, "future_timestamp": STALE_MS}


@dataclass(frozen=True)
class SignedCall:
    """The query string of one GET."""

    query: str
    sent_ms: int


def signed_call(
    key: str, parameters: Mapping[str, str], now_ms: int, tamper: str = "none"
) -> SignedCall:
    """Signs the decoded values, then encodes as Java's URLEncoder does: a blank becomes a plus."""
    sent_ms = now_ms + _SHIFTS.get(tamper, 0)
    whole = {**parameters, TIME_STAMP: time_stamp(sent_ms)}
    whole[TOKEN] = auth_token(key, whole)
    if tamper == "signature":
        whole[TOKEN] = ("B" if whole[TOKEN][0] == "A" else "A") + whole[TOKEN][1:]
    if tamper == "body":
        whole["tampered"] = "1"
    if tamper == "missing_signature":
        del whole[TOKEN]
    if tamper == "missing_timestamp":
        del whole[TIME_STAMP]
    return SignedCall(urlencode(whole), sent_ms)


def time_stamp(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`."""
    return f"{format_compact_time(at_ms)}{at_ms % 1000:03}"
