"""Sensitive values of V1.0 (spec §3.3): AES in CBC mode under a key that Java's SHA1PRNG makes of
the access key. Pure.

A value on the wire is its 16 characters of initialisation vector, then base64 of the ciphertext.
"""

import base64
import hashlib
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from billing_sync.errors import Undecipherable

BLOCK: Final = 16
IV_RANDOMNESS: Final = 32  # bytes behind one vector: the bias of the last remainder vanishes
MAX_VALUE: Final = 4096  # characters; the marketplace prints 128 for those it takes
ENCRYPT_TYPES: Final = {256: "1", 128: "2"}  # `encryptType` of a reply

_LETTERS_AND_DIGITS: Final = string.ascii_letters + string.digits


def sha1prng(seed: bytes, length: int) -> bytes:
    """The first bytes of `SecureRandom.getInstance("SHA1PRNG")` after `setSeed(seed)`."""
    made = b"".join(block for block, _ in zip(_blocks(seed), range(0, length, 20), strict=False))
    return made[:length]


def _blocks(seed: bytes) -> Iterator[bytes]:
    state = bytearray(_sha1(seed))
    while True:
        block = _sha1(state)
        yield block
        before, carry = bytes(state), 1
        for index, each in enumerate(block):
            total = _signed(state[index]) + _signed(each) + carry
            state[index] = total & 0xFF
            carry = total >> 8  # Java's bytes have a sign, and so has what is carried on
        if state == before:
            state[0] = (state[0] + 1) & 0xFF


def _sha1(data: bytes | bytearray) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()  # what the marketplace's Java does


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def random_iv(random_bytes: bytes) -> str:
    """16 letters and digits out of IV_RANDOMNESS random bytes."""
    number, letters = int.from_bytes(random_bytes), []
    for _ in range(BLOCK):
        number, place = divmod(number, len(_LETTERS_AND_DIGITS))
        letters.append(_LETTERS_AND_DIGITS[place])
    return "".join(letters)


@dataclass(frozen=True, slots=True)
class ValueCipher:
    """Encrypts and decrypts with one key of 128 or 256 bits."""

    bits: int
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, access_key: str, bits: int) -> Self:
        """The cipher that belongs to an access key."""
        return cls(bits, sha1prng(access_key.encode(), bits // 8))

    @property
    def encrypt_type(self) -> str:
        """What a reply tells of the key's size."""
        return ENCRYPT_TYPES[self.bits]

    def encrypt(self, text: str, iv: str) -> str:
        """`iv` is 16 ASCII characters, fresh and random for each value."""
        padder, box = PKCS7(BLOCK * 8).padder(), self._box(iv.encode()).encryptor()
        padded = padder.update(text.encode()) + padder.finalize()
        return iv + base64.b64encode(box.update(padded) + box.finalize()).decode()

    def decrypt(self, value: str) -> str:
        """The inverse of `encrypt`. Raises Undecipherable, which says nothing of the value."""
        try:
            return self._opened(value.encode("ascii")[:MAX_VALUE])
        except ValueError:
            raise Undecipherable(
                f"not encrypted with this access key and {self.bits} bits"
            ) from None

    def opens(self, value: str) -> bool:
        """Whether `decrypt` would not raise. A wrong key passes once in some hundred times."""
        with suppress(Undecipherable):
            self.decrypt(value)
            return True
        return False

    def _opened(self, raw: bytes) -> str:
        box, unpadder = self._box(raw[:BLOCK]).decryptor(), PKCS7(BLOCK * 8).unpadder()
        padded = box.update(base64.b64decode(raw[BLOCK:], validate=True)) + box.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode()

    def _box(self, iv: bytes) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self.key), modes.CBC(iv))


def encrypted_length(text: str) -> int:
    """How many characters `encrypt` makes of it."""
    blocks = len(text.encode()) // BLOCK + 1
    return BLOCK + 4 * -(-blocks * BLOCK // 3)  # base64 rounds up to threes
