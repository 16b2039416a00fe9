"""V1.0's encryption, against vectors and against values made up by hand."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import Undecipherable
from billing_sync.koogallery.cipher import (
    ValueCipher,
    encrypted_length,
    random_iv,
    sha1prng,
)
from tests.billing_sync.marketplace import ACCESS_KEY, vector
from tests.billing_sync.v1_marketplace import AES_KEY, decrypted

ENCRYPTED = [
    "V1 encrypt userName AES-256 fixed IV",
    "V1 encrypt userName AES-128 fixed IV",
    "SYNTHETIC V1 encrypt 13000000000 AES-256",
    "SYNTHETIC V1 encrypt buyer@example.com AES-256",
    "SYNTHETIC V1 encrypt admin AES-256",
]
CIPHERS = [ValueCipher.of(ACCESS_KEY, bits) for bits in (128, 256)]


@pytest.mark.parametrize("bits", [128, 256])
def test_key_vectors(bits: int) -> None:
    """The key is what Java's generator makes of the access key."""
    case = vector(f"SHA1PRNG AES-{bits} key derivation #2")
    assert sha1prng(case["key"].encode(), bits // 8).hex() == case["expected"]


def test_the_generator_goes_on() -> None:
    """Java's bytes 181 to 200 of a seed: the state was carried on through nine blocks."""
    assert sha1prng(ACCESS_KEY.encode(), 32) == AES_KEY
    assert sha1prng(b"tallygate", 200)[180:].hex() == "f7458c566542848758a4b6615edf36a944c9cc38"


@pytest.mark.parametrize("name", ENCRYPTED)
def test_value_vectors(name: str) -> None:
    """Every vector passes in both directions."""
    case = vector(name)
    told = case["input"]
    cipher = ValueCipher.of(case["key"], 256 if told["encryptType"] == "1" else 128)
    assert cipher.encrypt(told["plaintext"], told["iv"]) == case["expected"]
    assert cipher.decrypt(case["expected"]) == told["plaintext"]
    assert cipher.encrypt_type == told["encryptType"]


@given(st.text(max_size=60), st.sampled_from(CIPHERS), st.binary(min_size=32, max_size=32))
def test_there_and_back(text: str, cipher: ValueCipher, dice: bytes) -> None:
    """Whatever goes in comes out, by our hand and by another, and is as long as was said."""
    value = cipher.encrypt(text, random_iv(dice))
    assert cipher.decrypt(value) == text == decrypted(value, cipher.bits)
    assert len(value) == encrypted_length(text)


@given(st.text(max_size=80), st.sampled_from(CIPHERS))
def test_garbage(value: str, cipher: ValueCipher) -> None:
    """What is not encrypted is refused by name, never with another error, and is not repeated."""
    if not cipher.opens(value):
        with pytest.raises(Undecipherable) as refusal:
            cipher.decrypt(value)
        assert str(refusal.value) == (f"not encrypted with this access key and {cipher.bits} bits")


@pytest.mark.parametrize(
    "value", ["", "0123456789abcdef", "0123456789abcdefAAAA", "é" * 40, "x" * 9000]
)
def test_never_encrypted(value: str) -> None:
    """Nothing, a vector alone, half a block, other letters, and what is too long."""
    assert not CIPHERS[1].opens(value)


def test_the_other_size() -> None:
    """A value made with 128 bits is not opened with 256."""
    small, large = CIPHERS
    assert not large.opens(small.encrypt("13000000000", "0123456789abcdef"))


@given(st.binary(min_size=32, max_size=32))
def test_vectors_are_letters_and_digits(dice: bytes) -> None:
    """Sixteen of them, and nothing else."""
    iv = random_iv(dice)
    assert len(iv) == 16
    assert set(iv) <= set(string.ascii_letters + string.digits)


def test_vectors_differ() -> None:
    """Other random bytes, another vector."""
    assert random_iv(bytes(32)) != random_iv(bytes(31) + b"\1")


def test_the_key_is_not_shown() -> None:
    """A cipher's repr names its size alone."""
    assert repr(CIPHERS[1]) == "ValueCipher(bits=256)"
