"""Sensitive values of V1.0: Java's key, and both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.v1_cipher import aes_key, decrypted, encrypted

IV = "0123456789abcdef"
VECTORS = [(256, "3skyNB7o5RcplcTHhYGNyA=="), (128, "bOZcwfvYX/ihuTM8WIqU8A==")]


def test_the_key_is_what_java_makes() -> None:
    """From OpenJDK 17; the second block is where its signed bytes show."""
    assert aes_key("xxxxxxx", 128).hex() == "c962ef8500ad13239b5ec0eb6a5c570b"
    long = "c962ef8500ad13239b5ec0eb6a5c570b3cae0fd0e5c28e793eb6aaa22d251123"
    assert aes_key("xxxxxxx", 256).hex() == long


@pytest.mark.parametrize(("bits", "ciphertext"), VECTORS)
def test_vectors(bits: int, ciphertext: str) -> None:
    """In both directions."""
    assert encrypted("xxxxxxx", bits, "admin", IV) == IV + ciphertext
    assert decrypted("xxxxxxx", bits, IV + ciphertext) == "admin"


@given(st.text(st.characters(codec="utf-8")))
def test_what_was_encrypted_is_read(text: str) -> None:
    """Any text."""
    assert decrypted("key", 256, encrypted("key", 256, text, IV)) == text


@pytest.mark.parametrize("value", ["", "plain", IV, IV + "AAAA", IV + "****", "买" * 20])
def test_what_is_not_encrypted(value: str) -> None:
    """Is told apart, and breaks nothing."""
    assert decrypted("key", 256, value) is None
