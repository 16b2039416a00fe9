"""Licences at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import Undecipherable
from billing_sync.licence_sealing import code_id, digest, seal, shown, unseal

SECRET = b"0123456789abcdef0123456789abcdef"
NONCE = b"n" * 12


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_is_opened(plain: bytes, row: str) -> None:
    """By the same secret, for the same row."""
    row = row.encode("utf-8", "replace").decode()
    sealed = seal(SECRET, plain, row, NONCE)
    assert unseal(SECRET, sealed, row) == plain
    assert len(plain) < 8 or plain not in sealed.encode()


@pytest.mark.parametrize(
    ("secret", "row", "change"),
    [
        (b"x" * 32, "lic_1", ""),
        (SECRET, "lic_2", ""),
        (SECRET, "lic_1", "A"),
        (SECRET, "lic_1", "!"),
    ],
)
def test_what_is_not_opened(secret: bytes, row: str, change: str) -> None:
    """Another secret, another row's seal, damage: one named condition, and no hint of the content."""
    sealed = change + seal(SECRET, b"the licence", "lic_1", NONCE)[len(change) :]
    with pytest.raises(Undecipherable) as caught:
        unseal(secret, sealed, row)
    assert "licence" not in str(caught.value).replace("secret_key", "")


def test_digests_are_keyed() -> None:
    """Who reads the ledger cannot guess a fingerprint, and no fingerprint has no digest."""
    assert digest(SECRET, "aa:bb") != digest(b"x" * 32, "aa:bb")
    assert digest(SECRET, "aa:bb") == digest(SECRET, "aa:bb")
    assert digest(SECRET, "") == ""


def test_codes_by_their_beginning() -> None:
    """Enough to tell them apart, too little to use."""
    assert shown("PL-SECRET-1") == "PL-S…"
    assert code_id(SECRET, "PL1").startswith("code_")
    assert len(code_id(SECRET, "PL1")) == 37
