"""The seller's RSA key is looked at when the configuration is read, and named by its place."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tallygate.config import ConfigInvalid, load, parse
from tests.billing_sync.kit_marketplace import pem_of, rsa_key


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "tallygate.yaml"
    path.write_text("koogallery: {kit_key: k, private_key_file: keys/kit.pem}\n")
    (tmp_path / "keys").mkdir()
    return path


def refusal(place: Path) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load(place, {})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{place}: koogallery.private_key_file: {place.parent}/keys/kit.pem ")
    return line


def test_a_key_that_can_be_used(place: Path) -> None:
    """A relative path starts at the configuration."""
    file = place.parent / "keys" / "kit.pem"
    file.write_bytes(pem_of(rsa_key()))
    assert load(place, {}).koogallery.private_key_file == str(file)


def test_keys_that_cannot(place: Path) -> None:
    """One line says what to do."""
    file = place.parent / "keys" / "kit.pem"
    assert "cannot be read: No such file" in refusal(place)
    file.write_bytes(pem_of(rsa.generate_private_key(65537, 2048)))
    assert "has 2048 bits; the marketplace wants 3072 or more" in refusal(place)
    file.write_bytes(b"x" * 70_000)
    assert "larger than 65536 bytes" in refusal(place)
    file.write_bytes(b"x")
    assert "docs/kit.md" in refusal(place)
    file.unlink()
    file.mkdir()
    assert "cannot be read: Is a directory" in refusal(place)


def test_a_gateway_needs_none() -> None:
    """Where the variable is not set there is no key."""
    text = "koogallery: {private_key_file: '${KIT_KEY_FILE:-}'}"
    assert parse(text, {}, base=Path("/")).koogallery.private_key_file is None
