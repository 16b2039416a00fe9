"""The marketplace's signatures: checked on V2.0 callbacks, made for the usage push. Pure.

Verify the raw body first, parse afterwards. Nothing here logs or keeps a key.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from billing_sync.errors import BadEvent, BadSignature

TOLERANCE_MS: Final = 60_000
_MAX_PARAMETER: Final = 256  # documented nonces have 64 characters, signatures 64
_SECONDS_DIGITS: Final = 10  # some pages say seconds; ten digits can only be those


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """The query parameters of a callback, as they came."""

    signature: str
    timestamp: str
    nonce: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "SignedQuery":
        """Take the three parameters out of a query; what is absent is empty."""
        return cls(query.get("signature", ""), query.get("timestamp", ""), query.get("nonce", ""))


def verify(access_key: str, query: SignedQuery, body: bytes, now_ms: int) -> int:
    """Check a callback (spec §2.2) and return its timestamp in ms.

    Raises BadEvent for timestamp and nonce, BadSignature for the signature itself. The body is
    taken as it came and then as sorted compact JSON without nulls: the vendor signs the latter and
    sends the former, and a proxy between may have re-spaced it.
    """
    stamp = sent_at(query.timestamp)
    if abs(now_ms - stamp) > TOLERANCE_MS:
        raise BadEvent("timestamp is more than 60 s off; check both clocks")
    if not 0 < len(query.nonce) <= _MAX_PARAMETER:
        raise BadEvent("nonce is missing or too long")
    if not _matches(access_key, query, body):
        canonical = canonical_json(body)
        if canonical is None or not _matches(access_key, query, canonical):
            raise BadSignature("signature is missing or wrong")
    return stamp


def sent_at(timestamp: str) -> int:
    """A `timestamp` as ms. Raises BadEvent.

    No zero in front: nonce and timestamp are signed as one text, and a recorded call whose nonce ends
    with a zero could be played again with that zero moved over.
    """
    digits = timestamp.isascii() and timestamp.isdigit() and timestamp[0] != "0"
    if not digits or len(timestamp) not in range(10, 15):
        raise BadEvent("timestamp is missing or is not milliseconds")
    return int(timestamp) * (1000 if len(timestamp) == _SECONDS_DIGITS else 1)


def _matches(access_key: str, query: SignedQuery, payload: bytes) -> bool:
    expected = callback_signature(access_key, query.nonce, query.timestamp, payload)
    given = query.signature[:_MAX_PARAMETER].lower()
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def callback_signature(access_key: str, nonce: str, timestamp: str, payload: bytes) -> str:
    """The signature in lower-case hex; comparing it is case-insensitive."""
    key = access_key.encode()
    body_hash = hmac.new(key, payload, hashlib.sha256).hexdigest()
    text = f"{access_key}{nonce}{timestamp}{body_hash}"
    return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def canonical_json(body: bytes) -> bytes | None:
    """Keys ascending, nulls dropped, compact, `/` and non-ASCII unescaped; None if it is no JSON."""
    try:
        value = _without_nulls(json.loads(body.decode()))
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode()
    except (ValueError, RecursionError):  # broken UTF-8, lone surrogates and depth bombs included
        return None


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def push_signature(access_key: str, ts: str, nonce: str, body: bytes) -> str:
    """The `signature` header of the usage push (spec §7.1) over the very bytes that are sent."""
    text = f"ts={ts}&nonce={nonce}&body=".encode() + body
    return base64.b64encode(hmac.new(access_key.encode(), text, hashlib.sha256).digest()).decode()


class NonceMemory:
    """The nonces of the last minutes, so that a recorded callback cannot be played again.

    `keep_ms` must cover the tolerance in both directions. Beyond `limit` the oldest are forgotten:
    memory stays bounded, and only a holder of the key can get anything in here. With
    `refuse_repeats=False` repeats pass, for a marketplace that re-sends its own bytes.
    """

    def __init__(
        self,
        keep_ms: int = 2 * TOLERANCE_MS,
        limit: int = 100_000,
        *,
        refuse_repeats: bool = True,
    ) -> None:
        self._keep_ms = keep_ms
        self._limit = limit
        self._refuse = refuse_repeats
        self._seen: dict[str, int] = {}  # in order of arrival

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, nonce: str, now_ms: int) -> None:
        """Remember the nonce of a verified callback; raises BadSignature if it was seen before."""
        if not self._refuse:
            return
        self._forget(now_ms)
        if nonce in self._seen:
            raise BadSignature("nonce was used before")
        self._seen[nonce] = now_ms

    def _forget(self, now_ms: int) -> None:
        while self._seen:
            nonce, seen_at = next(iter(self._seen.items()))
            if now_ms - seen_at <= self._keep_ms and len(self._seen) < self._limit:
                return
            del self._seen[nonce]
