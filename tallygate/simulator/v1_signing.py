"""V1.0 signatures (spec §3.1, §3.2): the `authToken` of a call and the `Body-Sign` of its reply. Pure.

Written from the specification and apart from the product's own code, like `signing`.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

TOKEN: Final = "authToken"  # noqa: S105  (the parameter's name)
TIME_STAMP: Final = "timeStamp"
BODY_SIGN: Final = "Body-Sign"


def auth_token(key: str, parameters: Mapping[str, str]) -> str:
    """Base64 over the decoded parameters, without the token itself, sorted by name (§3.1)."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != TOKEN)
    text = "&".join("=".join(pair) for pair in pairs)
    return _base64(key + parameters.get(TIME_STAMP, ""), text.encode())


def reply_signature(key: str, content: bytes) -> str:
    """The base64 that belongs between the quotes of `Body-Sign`'s `signature` (§3.2)."""
    return _base64(key, content)


def _base64(key: str, message: bytes) -> str:
    return b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()
