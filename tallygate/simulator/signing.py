"""Signatures with the key bound to the base interface: callbacks out, usage pushes in. Pure.

Written from the specification (§2.2, §7.1) and deliberately apart from the product's own code: two
readings of one text find the mistakes of both.
"""

import hashlib
import hmac
from base64 import b64encode
from typing import Final

from .times import MINUTE_MS

PUSH_TOLERANCE_MS: Final = 5 * MINUTE_MS


def callback_signature(key: str, nonce: str, timestamp: str, payload: bytes) -> str:
    """Upper-case hex for the `signature` query parameter of a callback (§2.2)."""
    body_hash = _hmac(key, payload).hex()
    return _hmac(key, f"{key}{nonce}{timestamp}{body_hash}".encode()).hex().upper()


def push_signature(key: str, ts: str, nonce: str, body: bytes) -> str:
    """Base64 for the `signature` header of a usage push (§7.1), over exactly these bytes."""
    return b64encode(_hmac(key, f"ts={ts}&nonce={nonce}&body=".encode() + body)).decode()


def same(expected: str, given: str) -> bool:
    """Whether two signatures are equal, in constant time and for any text."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def _hmac(key: str, message: bytes) -> bytes:
    return hmac.new(key.encode(), message, hashlib.sha256).digest()
