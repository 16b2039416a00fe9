"""Client secrets as the marketplace may encrypt them, and keys that it could not use."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import PrivateKeyUnsuitable, Undecipherable
from billing_sync.koogallery.kit_secrets import decrypted, private_key
from tests.billing_sync.kit_marketplace import encrypted, pem_of, rsa_key


@pytest.mark.parametrize(
    ("label", "mask"),
    [
        (hashes.SHA256, hashes.SHA256),
        (hashes.SHA256, hashes.SHA1),  # Java's OAEPWithSHA-256AndMGF1Padding
        (hashes.SHA1, hashes.SHA1),
    ],
)
def test_every_oaep_that_may_be_meant(label: object, mask: object) -> None:
    """No page says which; all of them are opened."""
    assert (
        decrypted(private_key(pem_of(rsa_key())), encrypted("s3cret-é", label, mask)) == "s3cret-é"
    )


def test_base64_in_its_dialects() -> None:
    """In lines, URL-safe, without padding."""
    text = encrypted("s3cret")
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    for written in (lines, text.replace("+", "-").replace("/", "_"), text.rstrip("=")):
        assert decrypted(rsa_key(), written) == "s3cret"


def oaep(plain: bytes) -> str:
    sha = hashes.SHA256()
    box = padding.OAEP(padding.MGF1(sha), sha, None)
    return base64.b64encode(rsa_key().public_key().encrypt(plain, box)).decode()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "!!!!",
        base64.b64encode(bytes(384)).decode(),
        base64.b64encode(b"short").decode(),
        "é",
    ],
)
def test_what_cannot_be_opened(written: str) -> None:
    """Is named as such, whatever is wrong with it."""
    with pytest.raises(Undecipherable):
        decrypted(rsa_key(), written)


def test_what_is_no_secret() -> None:
    """Nothing, no text, or unprintable."""
    for plain in (b"", b"\xff\xfe", b"a\nb"):
        with pytest.raises(Undecipherable):
            decrypted(rsa_key(), oaep(plain))


@given(st.text(max_size=30))
def test_any_text(written: str) -> None:
    """Never anything else."""
    with pytest.raises(Undecipherable):
        decrypted(rsa_key(), written)


def test_keys_that_cannot_be_used() -> None:
    """The text goes on after the file's name and says what to do."""
    locked = rsa_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pw"),
    )
    public = rsa_key().public_key()
    public_pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    small = pem_of(rsa.generate_private_key(65537, 2048))
    for pem, words in (
        (b"", "PEM"),
        (b"\xff", "PEM"),
        (public_pem, "PEM"),
        (locked, "without a password"),
        (small, "2048 bits"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    ):
        with pytest.raises(PrivateKeyUnsuitable, match=words):
            private_key(pem)
    assert private_key(pem_of(rsa_key())).key_size == 3072
