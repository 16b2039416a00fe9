"""Signatures of the Kit (spec §5): `x-sign` of V2, `authToken` of V1, and times in UTC+8. Pure.

Written from the specification and apart from the product's own code, like `signing`.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final

from .times import HOUR_MS, format_compact_time
from .v1_signing import auth_token

SIGN: Final = "x-sign"
TIMESTAMP: Final = "x-timestamp"
NONCE: Final = "x-nonce"
TOKEN: Final = "authToken"  # noqa: S105  (the header's name)
_BEIJING_MS: Final = 8 * HOUR_MS


def sync_signature(key: str, nonce: str, timestamp: str, payload: bytes) -> str:
    """Upper-case hex; the payload itself is hashed, with no HMAC inside."""
    message = f"{key}{nonce}{timestamp}".encode() + payload
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest().upper()


def signed_text(fields: Mapping[str, object]) -> bytes:
    """Compact JSON: keys of the top level ascending, nulls dropped, what is inside as it stands."""
    kept = {name: fields[name] for name in sorted(fields) if fields[name] is not None}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def sync_token(key: str, fields: Mapping[str, object]) -> str:
    """V1: as §3.1 with the fields of the body; the key's suffix is their `timeStamp`."""
    return auth_token(key, {name: str(value) for name, value in fields.items()})


def beijing_stamp(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS` of UTC+8, as the Kit writes its times."""
    return f"{format_compact_time(at_ms + _BEIJING_MS)}{at_ms % 1000:03}"
