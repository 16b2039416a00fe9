"""The seller's RSA key, and secrets of applications that the marketplace encrypted with it (spec §5).
Pure.

The page says "RSA, at least 3072 bit, OAEP" and not with which hash. Java's own
`OAEPWithSHA-256AndMGF1Padding` takes SHA-256 for the label and SHA-1 for the mask, so that is tried too.
"""

import base64
import binascii
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from billing_sync.errors import PrivateKeyUnsuitable, Undecipherable

LEAST_BITS: Final = 3072
MAX_PEM: Final = 64 * 1024
MAX_SECRET: Final = 512  # characters, decrypted
_PADDINGS: Final = (
    OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None),
    OAEP(MGF1(hashes.SHA1()), hashes.SHA256(), None),  # noqa: S303  (as Java does)
    OAEP(MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303  (OAEP does not rest on it)
)


@lru_cache(maxsize=2)
def private_key(pem: bytes) -> RSAPrivateKey:
    """The key of a PEM file, remembered: to check one takes a tenth of a second.

    Raises PrivateKeyUnsuitable, whose text says what to do.
    """
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise PrivateKeyUnsuitable("is encrypted; store the key without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PrivateKeyUnsuitable(
            "is no private key in PEM; docs/kit.md shows how to make one"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise PrivateKeyUnsuitable("is not an RSA key; the marketplace encrypts with RSA")
    if key.key_size < LEAST_BITS:
        text = f"has {key.key_size} bits; the marketplace wants {LEAST_BITS} or more"
        raise PrivateKeyUnsuitable(text)
    return key


def decrypted(key: RSAPrivateKey, encrypted: str) -> str:
    """A client secret. Raises Undecipherable where it is no base64, or of another key."""
    raw = _bytes(encrypted)
    for padding in _PADDINGS:
        try:
            secret = key.decrypt(raw, padding).decode()
        except ValueError:  # the wrong padding, or no UTF-8
            continue
        if 0 < len(secret) <= MAX_SECRET and secret.isprintable():
            return secret
    raise Undecipherable("clientSecret cannot be decrypted")


def _bytes(encrypted: str) -> bytes:
    """Base64 with either alphabet, in lines or not, with or without padding."""
    text = "".join(encrypted.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise Undecipherable("clientSecret is no base64") from None
