"""Sensitive values of V1.0 (spec §3.3), read and written as the marketplace's Java does it. Pure.

A value is 16 characters of initialisation vector and then base64 of AES-CBC with PKCS5 padding.
"""

import binascii
import hashlib
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

BITS: Final[Mapping[str, int]] = {"1": 256, "2": 128}  # by `encryptType`
_IV: Final = 16


def aes_key(access_key: str, bits: int) -> bytes:
    """KeyGenerator("AES").init(bits, SHA1PRNG seeded with the key): two blocks are enough."""
    state = _sha1(access_key.encode())
    first = _sha1(state)
    return (first + _sha1(_next(state, first)))[: bits // 8]


def encrypted(access_key: str, bits: int, text: str, iv: str) -> str:
    """A value as the marketplace sends one; `iv` is 16 letters and digits."""
    padder = PKCS7(128).padder()
    box = _box(access_key, bits, iv.encode()).encryptor()
    padded = padder.update(text.encode()) + padder.finalize()
    return iv + b64encode(box.update(padded) + box.finalize()).decode()


def decrypted(access_key: str, bits: int, value: str) -> str | None:
    """The plain text; None for what is not encrypted so."""
    try:
        raw = b64decode(value[_IV:].encode("ascii"), validate=True)
        box = _box(access_key, bits, value[:_IV].encode("ascii")).decryptor()
        unpadder = PKCS7(128).unpadder()
        padded = box.update(raw) + box.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except (ValueError, binascii.Error):
        return None


def _box(access_key: str, bits: int, iv: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(aes_key(access_key, bits)), modes.CBC(iv))


def _next(state: bytes, block: bytes) -> bytes:
    """Java adds its signed bytes with carry, the first byte lowest, and begins with a carry of 1."""
    carry, made = 1, []
    pairs = zip(struct.unpack("20b", state), struct.unpack("20b", block), strict=True)
    for one, other in pairs:
        carry += one + other
        made.append(carry & 0xFF)
        carry >>= 8
    return bytes(made)


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
