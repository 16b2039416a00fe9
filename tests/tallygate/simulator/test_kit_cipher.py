"""clientSecret on its way: the private key opens it, whatever hash OAEP was written with."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.kit_cipher import (
    PADDINGS,
    public_part,
    read_public_key,
    sealed,
    wrongly_sealed,
)
from tests.tallygate.simulator.kit_merchant import PRIVATE, PRIVATE_PEM, PUBLIC_PEM


@pytest.mark.parametrize("name", PADDINGS)
def test_the_private_key_opens_it(name: str) -> None:
    """And by no other padding."""
    text = sealed("geheim 李", read_public_key(PUBLIC_PEM), name)
    for other, padding in PADDINGS.items():
        if other == name:
            assert PRIVATE.decrypt(b64decode(text), padding).decode() == "geheim 李"
        else:
            with pytest.raises(ValueError, match=r"."):
                PRIVATE.decrypt(b64decode(text), padding)


def test_the_public_part_of_a_private_key() -> None:
    """The same key."""
    assert public_part(PRIVATE_PEM) == read_public_key(PUBLIC_PEM)


def test_wrong_ones_stay_closed() -> None:
    """Each in its own way."""
    for title, text in wrongly_sealed("secret", read_public_key(PUBLIC_PEM)).items():
        for padding in PADDINGS.values():
            with pytest.raises(ValueError, match=r"."):
                PRIVATE.decrypt(b64decode(text, validate=True), padding)
        assert title


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing", "no PEM file"),
        (PRIVATE_PEM, "no PEM file of a public key"),
        (pem(rsa.generate_private_key(65537, 2048).public_key()), "3072 at least"),
        (pem(ec.generate_private_key(ec.SECP256R1()).public_key()), "must be an RSA key"),
    ],
)
def test_keys_that_cannot_be_used(content: bytes, said: str) -> None:
    """With a sentence that says why."""
    with pytest.raises(BadRequest, match=said):
        read_public_key(content)


@pytest.mark.parametrize("content", [b"", PUBLIC_PEM])
def test_no_private_key(content: bytes) -> None:
    """Neither nothing nor a public one."""
    with pytest.raises(BadRequest, match="private key"):
        public_part(content)
