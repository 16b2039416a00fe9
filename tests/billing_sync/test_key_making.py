"""A new key, and the forms of it that are stored."""

import os

from billing_sync.key_making import KeyMaker
from metering import keys


def test_what_is_stored_is_not_the_key() -> None:
    """But finds it, opens it, and tells it from others."""
    maker = KeyMaker(b"secret", os.urandom)
    key, made = maker.make()
    assert made.digest == keys.digest(keys.pepper(b"secret"), key)
    assert keys.unseal(b"secret", made.sealed) == key
    assert made.shown == f"{key[:9]}…"
    assert key not in repr(made)
    assert "secret" not in repr(maker)
    assert maker.make()[0] != key
