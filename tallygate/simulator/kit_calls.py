"""A sync of the Kit as it goes out, well made or spoilt in one named way (spec §5). Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from .debug_case import Style
from .kit_signing import (
    NONCE,
    SIGN,
    TIMESTAMP,
    TOKEN,
    beijing_stamp,
    signed_text,
    sync_signature,
    sync_token,
)
from .tampering import SHIFTED, STALE_MS, shiftable
from .times import DAY_MS

SYNCS: Final = ("tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync")
V2_PATH: Final = "/produceAPI/v2/"
V1_PATH: Final = "/produceAPI/"
TIME_STAMP: Final = "timeStamp"
_V2_SHIFTS: Final = {"timestamp": -STALE_MS, "future_timestamp": STALE_MS}
_V1_SHIFTS: Final = {"timestamp": -30 * DAY_MS, "future_timestamp": STALE_MS}
_MISSING: Final = {
    "missing_signature": SIGN,
    "missing_timestamp": TIMESTAMP,
    "missing_nonce": NONCE,
}


@dataclass(frozen=True)
class Sync:
    """One sync; `raw` goes out in place of the fields. `timeStamp` is added when it is signed."""

    name: str
    fields: Mapping[str, object]
    raw: bytes | None = None
    style: Style = Style.PLAIN


@dataclass(frozen=True)
class SignedSync:
    """A POST to the production address plus `path`; `sent_ms` is the time that was signed."""

    path: str
    headers: Mapping[str, str]
    content: bytes
    sent_ms: int


def signed_v2(key: str, sync: Sync, nonce: str, now_ms: int, tamper: str = "none") -> SignedSync:
    """With `x-sign`. A wrong time is signed correctly, so that only the time can be refused."""
    sent_ms = now_ms + _V2_SHIFTS.get(tamper, 0)
    nonce = shiftable(nonce) if tamper == "shift" else nonce
    fields = _stamped(sync.fields, sent_ms)
    payload = signed_text(fields) if sync.raw is None else sync.raw
    signature = sync_signature(key, nonce, str(sent_ms), payload)
    if sync.style is Style.LOWER:
        signature = signature.lower()
    if tamper == "signature":
        signature = ("0" if signature[0] != "0" else "1") + signature[1:]
    headers = {SIGN: signature, TIMESTAMP: str(sent_ms), NONCE: nonce}
    if tamper == "nonce":
        headers[NONCE] = nonce[::-1] + "0"
    headers.pop(_MISSING.get(tamper, ""), None)
    content = sync.raw if sync.raw is not None else _written(_altered(fields, tamper), sync.style)
    return SignedSync(V2_PATH + sync.name, headers, content, sent_ms)


def signed_v1(key: str, sync: Sync, now_ms: int, tamper: str = "none") -> SignedSync:
    """With the header `authToken`; the time that is signed is the body's own."""
    sent_ms = now_ms + _V1_SHIFTS.get(tamper, 0)
    fields = _stamped(sync.fields, sent_ms)
    if tamper == "missing_timestamp":
        del fields[TIME_STAMP]
    token = sync_token(key, fields)
    if tamper == "signature":
        token = ("B" if token[0] == "A" else "A") + token[1:]
    headers = {} if tamper == "missing_signature" else {TOKEN: token}
    content = sync.raw if sync.raw is not None else _written(_altered(fields, tamper), sync.style)
    return SignedSync(V1_PATH + sync.name, headers, content, sent_ms)


def shifted_sync(sync: SignedSync) -> SignedSync:
    """A replay under another nonce, as `tampering.shifted`."""
    headers = dict(sync.headers)
    headers |= {NONCE: headers[NONCE][:-1], TIMESTAMP: SHIFTED + headers[TIMESTAMP]}
    return replace(sync, headers=headers)


def _stamped(fields: Mapping[str, object], sent_ms: int) -> dict[str, object]:
    """With the time of the call, unless the fields have their own."""
    return {TIME_STAMP: beijing_stamp(sent_ms), **fields}


def _altered(fields: Mapping[str, object], tamper: str) -> Mapping[str, object]:
    return {**fields, "tampered": "1"} if tamper == "body" else fields


def _written(fields: Mapping[str, object], style: Style) -> bytes:
    if style is Style.UNSORTED:
        backwards = {name: fields[name] for name in sorted(fields, reverse=True)}
        return json.dumps(backwards, ensure_ascii=False, separators=(", ", ": ")).encode()
    ordered = {name: fields[name] for name in sorted(fields)}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
