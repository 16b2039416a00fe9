"""How licences, fingerprints and authorization codes are kept at rest: sealed, and found by digest. Pure.

`secret` is the installation's; each purpose has a subkey of its own. What is sealed is bound to the
row it belongs to, so that nobody who can write to the ledger can swap two customers' licences.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from billing_sync.errors import Undecipherable
from metering.keys import derive

NONCE: Final = 12  # random bytes, fresh for each seal (NIST SP 800-38D)
_SEALED: Final = "tallygate sealed licence"
_DIGEST: Final = "tallygate licence digest"
_SHOWN: Final = 4


def seal(secret: bytes, plain: bytes, row_id: str, nonce: bytes) -> str:
    """AES-256-GCM, as base64."""
    box = AESGCM(derive(secret, _SEALED))
    return base64.b64encode(nonce + box.encrypt(nonce, plain, row_id.encode())).decode()


def unseal(secret: bytes, sealed: str, row_id: str) -> bytes:
    """The inverse. Raises Undecipherable for another secret_key or another row's seal."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        box = AESGCM(derive(secret, _SEALED))
        return box.decrypt(raw[:NONCE], raw[NONCE:], row_id.encode())
    except (InvalidTag, ValueError, binascii.Error):
        raise Undecipherable("sealed with another secret_key, or damaged") from None


def digest(secret: bytes, text: str) -> str:
    """What a fingerprint is found again by, without being stored; empty for an empty one."""
    if not text:
        return ""
    return hmac.digest(derive(secret, _DIGEST), text.encode(), hashlib.sha256).hex()


def code_id(secret: bytes, code: str) -> str:
    """What an authorization code is found by; 37 characters, as an instance's id it fits anywhere."""
    return f"code_{digest(secret, code)[:32]}"


def shown(code: str) -> str:
    """The beginning of a code, by which people tell codes apart."""
    return f"{code[:_SHOWN]}…"
