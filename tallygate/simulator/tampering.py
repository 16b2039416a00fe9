"""A signed callback, well made or spoilt in one named way. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from .checks import accepted_codes
from .signing import callback_signature
from .times import MINUTE_MS

AUTH_FAILED: Final = frozenset({"000001"})
BAD_PARAMETER: Final = frozenset({"000002"})

# What a merchant must answer (spec §2.2). A replay has no documented code: anything but success.
EXPECTED: Final[Mapping[str, frozenset[str]]] = {
    "signature": AUTH_FAILED,
    "missing_signature": AUTH_FAILED,
    "nonce": AUTH_FAILED,
    "body": AUTH_FAILED,
    "timestamp": BAD_PARAMETER,
    "future_timestamp": BAD_PARAMETER,
    "missing_timestamp": BAD_PARAMETER,
    "missing_nonce": BAD_PARAMETER,
    "replay": AUTH_FAILED | BAD_PARAMETER,
    "shift": AUTH_FAILED | BAD_PARAMETER,
}
# A shift needs the call that was shifted, so it is no way to spoil a single one.
TAMPERS: Final = ("none", *(each for each in EXPECTED if each != "shift"))
SHIFTED: Final = "0"
STALE_MS: Final = 10 * MINUTE_MS


@dataclass(frozen=True)
class SignedCallback:
    """Query parameters and the exact bytes of one POST; `sent_ms` is the time that was signed."""

    params: Mapping[str, str]
    content: bytes
    sent_ms: int


def signed_callback(
    key: str, content: bytes, nonce: str, now_ms: int, tamper: str = "none"
) -> SignedCallback:
    """Signs by §2.2. A wrong time is signed correctly, so that only the time can be refused."""
    sent_ms = now_ms + {"timestamp": -STALE_MS, "future_timestamp": STALE_MS}.get(tamper, 0)
    nonce = shiftable(nonce) if tamper == "shift" else nonce
    timestamp = str(sent_ms)
    signature = callback_signature(key, nonce, timestamp, content)
    if tamper == "signature":
        signature = ("0" if signature[0] != "0" else "1") + signature[1:]
    if tamper == "nonce":
        nonce = nonce[::-1] + "0"
    if tamper == "body":
        content = _altered(content)
    params = {"signature": signature, "timestamp": timestamp, "nonce": nonce}
    params.pop(tamper.removeprefix("missing_") if tamper.startswith("missing_") else "", None)
    return SignedCallback(params, content, sent_ms)


def shiftable(nonce: str) -> str:
    """One whose end may stand before a number without changing it."""
    return nonce[:-1] + SHIFTED


def shifted(callback: SignedCallback) -> SignedCallback:
    """A replay under another nonce: nonce and timestamp are signed without anything between them."""
    params = dict(callback.params)
    nonce, timestamp = params["nonce"], params["timestamp"]
    params |= {"nonce": nonce[:-1], "timestamp": SHIFTED + timestamp}
    return replace(callback, params=params)


def _altered(content: bytes) -> bytes:
    """Another value in the body: white space alone may be forgiven, as the sample re-serialises."""
    return content[:-1] + (b',"tampered":"1"}' if len(content) > 2 else b'"tampered":"1"}')


def expected_codes(activity: str, tamper: str, attempt: int) -> frozenset[str]:
    """Result codes that are right for the `attempt`-th sending, counted from 0."""
    if tamper == "none" or (tamper == "replay" and attempt == 0):
        return accepted_codes(activity)
    return EXPECTED[tamper]
