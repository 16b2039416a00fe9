import hashlib
import os

import pytest
from cryptography.exceptions import InvalidTag

from metering import keys


def test_a_key_has_a_prefix_and_all_its_randomness() -> None:
    """32 random bytes become 43 URL-safe characters."""
    assert keys.make_key(b"\x00" * 32) == "tg-" + "A" * 43
    assert keys.make_key(os.urandom(32)) != keys.make_key(os.urandom(32))


def test_the_digest_is_keyed() -> None:
    """The same key has another digest at another installation."""
    one, two = keys.pepper(b"one"), keys.pepper(b"two")
    assert keys.digest(one, "sk-test") != keys.digest(two, "sk-test")


def test_a_configured_sha256_gives_the_digest_of_its_key() -> None:
    """`key_hashes` stand in place of `keys`."""
    pepper = keys.pepper(b"secret")
    hashed = hashlib.sha256(b"sk-test").hexdigest()
    assert keys.digest_of_sha256(pepper, hashed) == keys.digest(pepper, "sk-test")


def test_a_sealed_key_opens_with_its_secret_only() -> None:
    """Another secret_key cannot read what this one sealed."""
    sealed = keys.seal(b"secret", "tg-abc", b"\x01" * 12)
    assert "tg-abc" not in sealed
    assert keys.unseal(b"secret", sealed) == "tg-abc"
    with pytest.raises(InvalidTag):
        keys.unseal(b"other", sealed)
