import base64
import hashlib
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tallygate.reconciliation.report_signing import (
    KEY_FILE,
    NotVerified,
    private_key,
    public_text,
    sign,
    verify,
)

NAME = "reconciliation-2026-01-31.json"


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return private_key(tmp_path / "data")


def signed(folder: Path, key: Ed25519PrivateKey, content: bytes = b'{"a":1}\n') -> Path:
    path = folder / NAME
    path.write_bytes(content)
    signature = sign(key, NAME, hashlib.sha256(content).hexdigest())
    path.with_name(f"{NAME}.sig").write_bytes(signature)
    return path


def test_the_key_is_made_once_and_for_its_owner(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """In the data directory."""
    assert public_text(private_key(tmp_path / "data")) == public_text(key)
    mode = stat.S_IMODE((tmp_path / "data" / KEY_FILE).stat().st_mode)
    assert mode == 0o600
    assert public_text(private_key(tmp_path / "other")) != public_text(key)


def test_a_signed_report_is_verified(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """With the public key alone, and nothing of ours but the statement."""
    path = signed(tmp_path, key)
    digest = verify(path, public_text(key) + "\n")
    said = json.loads(path.with_name(f"{NAME}.sig").read_bytes())
    assert (said["algorithm"], said["sha256"]) == ("Ed25519", digest)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(said["public_key"]))
    statement = f"tallygate daily report 1\n{NAME}\n{digest}\n".encode()
    public.verify(base64.b64decode(said["signature"]), statement)


def test_a_changed_report_is_not(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Not a byte of it."""
    path = signed(tmp_path, key)
    path.write_bytes(b'{"a":2}\n')
    with pytest.raises(NotVerified, match="changed after it was signed"):
        verify(path, public_text(key))


def test_another_key_is_not_trusted(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Whatever the signature file says of itself."""
    other = private_key(tmp_path / "other")
    path = signed(tmp_path, other)
    with pytest.raises(NotVerified, match="another key"):
        verify(path, public_text(key))
    document = path.with_name(f"{NAME}.sig")
    said = json.loads(document.read_text())
    document.write_text(json.dumps({**said, "public_key": public_text(key)}))
    with pytest.raises(NotVerified, match="signature is wrong"):
        verify(path, public_text(key))


def test_a_report_of_another_day_is_not_this_one(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """A name is signed too."""
    path = signed(tmp_path, key)
    other = path.rename(tmp_path / "reconciliation-2026-02-01.json")
    path.with_name(f"{NAME}.sig").rename(tmp_path / "reconciliation-2026-02-01.json.sig")
    with pytest.raises(NotVerified, match="under another name"):
        verify(other, public_text(key))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"file": 1}', "x" * 5000, "null"])
def test_what_is_no_signature_is_named(tmp_path: Path, key: Ed25519PrivateKey, text: str) -> None:
    """However it is broken."""
    path = signed(tmp_path, key)
    path.with_name(f"{NAME}.sig").write_text(text)
    with pytest.raises(NotVerified, match="is no signature of ours"):
        verify(path, public_text(key))


@pytest.mark.parametrize("signature", ["", "!", "AAAA", "é"])
def test_a_broken_signature_is_wrong(
    tmp_path: Path, key: Ed25519PrivateKey, signature: str
) -> None:
    """Nothing fails at it."""
    path = signed(tmp_path, key)
    document = path.with_name(f"{NAME}.sig")
    said = json.loads(document.read_text())
    document.write_text(json.dumps({**said, "signature": signature}))
    with pytest.raises(NotVerified):
        verify(path, public_text(key))
