"""Tokens as the Agents gateway makes them (spec §1.5), written without any code of ours."""

import base64
import hashlib
import hmac
import json
from typing import Any

APP, SECRET = "d44cd9aa-e48e-be17-27f4-5ef3474797a1", "00000000-0000-4000-8000-000000000002"
HEADER = {"alg": "HS256", "sign_type": "SIGN"}
MINUTE_MS = 60_000


def said_at(now_ms: int, **changes: Any) -> dict[str, Any]:
    """What a token says that is made at this time."""
    return {"api_key": APP, "timestamp": now_ms, "exp": now_ms + 5 * MINUTE_MS} | changes


def token(
    payload: Any, secret: str = SECRET, header: Any = HEADER, digest: str = "sha256"
) -> bytes:
    """A signed token. What is None in the payload is left out."""
    if isinstance(payload, dict):
        payload = {name: value for name, value in payload.items() if value is not None}
    signed = b".".join(_encoded(json.dumps(each).encode()) for each in (header, payload))
    algorithm = getattr(hashlib, digest)
    return signed + b"." + _encoded(hmac.new(secret.encode(), signed, algorithm).digest())


def called(proof: bytes, **identity: str) -> dict[str, str]:
    """The headers of a call with this token; of `customer`, `name`, `request_id`."""
    names = {"customer": "X-Customer-Id", "name": "X-Customer-Name", "request_id": "X-Request-Id"}
    sent = {names[each]: value for each, value in identity.items()}
    return {"Authorization": f"Bearer {proof.decode()}", **sent}


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
