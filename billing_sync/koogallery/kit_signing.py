"""How calls of the joint-operation Kit prove who made them (spec §5). Pure.

Not as base calls do: V2.0 signs the body itself and not a hash of it, and names the parts in headers;
V1.0 makes its token from the fields of a body.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from billing_sync.errors import BadEvent, BadSignature
from billing_sync.koogallery import v1_signing
from billing_sync.koogallery.kit_values import stamp_ms
from billing_sync.koogallery.signing import TOLERANCE_MS, canonical_json, sent_at

TOKEN: Final = "authToken"  # noqa: S105  (the header's name)
_MAX_HEADER: Final = 256
_MAX_TOKEN: Final = 255


@dataclass(frozen=True, slots=True)
class KitHeaders:
    """The headers that prove a call, of either version; what is absent is empty."""

    sign: str = ""
    timestamp: str = ""
    nonce: str = ""
    token: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "KitHeaders":
        """Take them out of a request's headers, whose names are found in any case."""
        names = ("x-sign", "x-timestamp", "x-nonce", TOKEN)
        return cls(*(headers.get(name, "") for name in names))


def verify_v2(key: str, headers: KitHeaders, body: bytes, now_ms: int) -> None:
    """Check a V2.0 call. Raises BadEvent for timestamp and nonce, BadSignature for the signature.

    The body is taken as it came, and then as sorted compact JSON without nulls, its inner objects as
    they are or sorted too: pages say sorted, and not how deep.
    """
    if abs(now_ms - sent_at(headers.timestamp)) > TOLERANCE_MS:
        raise BadEvent("x-timestamp is more than 60 s off; check both clocks")
    if not 0 < len(headers.nonce) <= _MAX_HEADER:
        raise BadEvent("x-nonce is missing or too long")
    given = headers.sign[:_MAX_HEADER].lower().encode("utf-8", "replace")
    for payload in _payloads(body):
        expected = x_sign(key, headers.nonce, headers.timestamp, payload)
        if hmac.compare_digest(expected.encode(), given):
            return
    raise BadSignature("x-sign is missing or wrong")


def x_sign(key: str, nonce: str, timestamp: str, payload: bytes) -> str:
    """The signature in lower-case hex; comparing it is case-insensitive."""
    text = f"{key}{nonce}{timestamp}".encode("utf-8", "replace") + payload
    return hmac.digest(key.encode(), text, hashlib.sha256).hex()


def _payloads(body: bytes) -> Iterator[bytes]:
    yield body
    outer = _sorted_outside(body)
    if outer is not None:
        yield outer
    whole = canonical_json(body)
    if whole is not None:
        yield whole


def _sorted_outside(body: bytes) -> bytes | None:
    try:
        data = json.loads(body.decode())
        if not isinstance(data, dict):
            return None
        kept = {name: data[name] for name in sorted(data) if data[name] is not None}
        return _compact(kept).encode()
    except (ValueError, RecursionError):
        return None


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def verify_v1(key: str, token: str, body: Mapping[str, Any], now_ms: int, max_age_ms: int) -> None:
    """Check a V1.0 call's token, made from the fields of its body. Raises BadEvent, BadSignature.

    Fields that are null have no part in it. Of fields that are empty no page says whether they do.
    """
    age_ms = now_ms - stamp_ms(v1_signing.STAMP, body.get(v1_signing.STAMP))
    if not -v1_signing.AHEAD_MS <= age_ms <= max_age_ms:
        off = "old" if age_ms > 0 else "far ahead"
        raise BadEvent(f"{v1_signing.STAMP} is too {off}; check both clocks, it is UTC+8")
    if not is_token_of(key, token, body):
        raise BadSignature(f"{TOKEN} is missing or wrong")


def is_token_of(key: str, token: str, body: Mapping[str, Any]) -> bool:
    """Whether this key makes this token, whenever that was. Raises BadEvent."""
    texts = {name: _text(value) for name, value in body.items() if value is not None}
    given = (token if len(token) <= _MAX_TOKEN else "").encode("utf-8", "replace")
    readings = (texts, {name: text for name, text in texts.items() if text})
    return v1_signing.STAMP in texts and any(
        hmac.compare_digest(v1_signing.auth_token(key, reading).encode(), given)
        for reading in readings
        if v1_signing.STAMP in reading
    )


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else _compact(value)
    except RecursionError:  # reading goes a little deeper than writing
        raise BadEvent("body is nested too deep") from None
