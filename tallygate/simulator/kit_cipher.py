"""The Kit's clientSecret on its way to the merchant: RSA with OAEP, by his public key (spec §5).

The pages name the padding and not its hash; Java's own names stand for three different ones.
"""

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from .errors import BadRequest

LEAST_BITS: Final = 3072
SHA256: Final = "SHA-256"
PADDINGS: Final[Mapping[str, padding.OAEP]] = {
    SHA256: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "SHA-256 with MGF1 of SHA-1, as Java writes it": padding.OAEP(
        padding.MGF1(hashes.SHA1()),  # noqa: S303
        hashes.SHA256(),
        None,
    ),
    "SHA-1": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303
}


def read_public_key(pem: bytes) -> RSAPublicKey:
    """A PEM of the merchant's public key; raises BadRequest when it is none or too short."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadRequest("this is no PEM file of a public key (BEGIN PUBLIC KEY)") from None
    return _long_enough(key)


def public_part(pem: bytes) -> RSAPublicKey:
    """The public key of a private one without a password; raises BadRequest."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadRequest("this is no PEM file of a private key without a password") from None
    return _long_enough(key.public_key())


def sealed(secret: str, key: RSAPublicKey, hashed_by: str = SHA256) -> str:
    """Base64 of the encrypted secret; another one each time."""
    return b64encode(key.encrypt(secret.encode(), PADDINGS[hashed_by])).decode()


def wrongly_sealed(secret: str, key: RSAPublicKey) -> dict[str, str]:
    """Secrets that the merchant must not be able to decrypt, by what is wrong with them."""
    old = b64encode(key.encrypt(secret.encode(), padding.PKCS1v15())).decode()
    whole = sealed(secret, key)
    return {
        "encrypted for another key": sealed(secret, _stranger()),
        "padded by PKCS #1 v1.5": old,
        "cut short": whole[: len(whole) // 2],
        "no base64": "*" * len(whole),
        "not encrypted": secret,
    }


@cache
def _stranger() -> RSAPublicKey:
    """Somebody else's key; it takes a while to make one."""
    return rsa.generate_private_key(65537, LEAST_BITS).public_key()


def _long_enough(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise BadRequest("the key must be an RSA key")
    if key.key_size < LEAST_BITS:
        raise BadRequest(f"the key has {key.key_size} bits; the Kit asks for {LEAST_BITS} at least")
    return key
