"""API keys: how they are made and how they are recognised without being stored. Pure.

A key is 256 random bits, so a fast keyed hash is enough at rest: there is nothing to guess.
`secret` in these functions is the installation's `secret_key`; every use derives its own subkey.
"""

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "tg-"
_SHOWN = len(PREFIX) + 6  # of 46: what is left has 220 random bits
_API_KEY = "tallygate sealed api-key"
_NONCE_BYTES = 12  # AES-GCM, NIST SP 800-38D


def make_key(random_bytes: bytes) -> str:
    """A new API key from 32 random bytes: `tg-` and 43 URL-safe characters."""
    return PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def shown(key: str) -> str:
    """The beginning of a key that `make_key` made, by which people tell their keys apart."""
    return f"{key[:_SHOWN]}…"


def static_key_id(keyed_digest: str) -> str:
    """The id of a key that the configuration declares; ids of other keys are decimal numbers."""
    return f"c{keyed_digest[:11]}"


def derive(secret: bytes, purpose: str) -> bytes:
    """A 32-byte subkey for one purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


def pepper(secret: bytes) -> bytes:
    """The subkey that keys the digests of API keys."""
    return derive(secret, "tallygate api-key digest")


def sha256_hex(key: str | bytes) -> str:
    """What `key_hashes:` in the configuration holds: hex SHA-256 of the key."""
    raw = key.encode() if isinstance(key, str) else key
    return hashlib.sha256(raw).hexdigest()


def digest_of_sha256(key_pepper: bytes, key_sha256_hex: str) -> str:
    """The keyed digest, from the key's own SHA-256 in hex."""
    return hmac.new(key_pepper, bytes.fromhex(key_sha256_hex), hashlib.sha256).hexdigest()


def digest(key_pepper: bytes, key: str | bytes) -> str:
    """The keyed digest of a key: the only form that is stored or projected."""
    return digest_of_sha256(key_pepper, sha256_hex(key))


def seal(secret: bytes, plain: str, nonce: bytes, purpose: str = _API_KEY) -> str:
    """Encrypt a key for SQL with AES-256-GCM; `nonce` is 12 random bytes, fresh for each call.

    Secrets of another `purpose` have a subkey of their own.
    """
    box = AESGCM(derive(secret, purpose))
    return base64.b64encode(nonce + box.encrypt(nonce, plain.encode(), None)).decode()


def unseal(secret: bytes, sealed: str, purpose: str = _API_KEY) -> str:
    """The inverse of `seal`. Raises cryptography's InvalidTag when the secret is another one."""
    raw = base64.b64decode(sealed)
    box = AESGCM(derive(secret, purpose))
    return box.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
