"""Signs daily reports with the installation's own Ed25519 key, and checks such signatures.

What is signed is a statement: its purpose, the file's name and its SHA-256. So a report of any size
is signed and checked in little memory, and none passes for that of another day.
"""

import base64
import binascii
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tallygate import secret_files

KEY_FILE: Final = "report_key"
SUFFIX: Final = ".sig"
ALGORITHM: Final = "Ed25519"
_PURPOSE: Final = "tallygate daily report 1"
_BLOCK: Final = 1 << 20
_MAX_SIGNATURE: Final = 4096  # bytes of a signature file


class NotVerified(Exception):
    """A report is not what was signed; the text says why."""


def private_key(data_dir: Path) -> Ed25519PrivateKey:
    """The key in `data_dir/report_key`, made at first use. Raises SecretUnusable or OSError."""
    seed = secret_files.ensure(data_dir, KEY_FILE).encode()
    derived = HKDF(SHA256(), 32, salt=None, info=_PURPOSE.encode()).derive(seed)
    return Ed25519PrivateKey.from_private_bytes(derived)


def public_text(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key as it is handed on: base64 of its 32 bytes."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return base64.b64encode(public.public_bytes_raw()).decode()


def sign(key: Ed25519PrivateKey, name: str, sha256: str) -> bytes:
    """The signature file of a report with this name and digest."""
    document = {
        "algorithm": ALGORITHM,
        "file": name,
        "public_key": public_text(key),
        "sha256": sha256,
        "signature": base64.b64encode(key.sign(_statement(name, sha256))).decode(),
    }
    return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def verify(path: Path, trusted: str) -> str:
    """The digest of a report whose signature file beside it is the trusted key's.

    Raises NotVerified, and OSError for files that cannot be read.
    """
    said = _signature(path.with_name(path.name + SUFFIX))
    if not hmac.compare_digest(said["public_key"], trusted.strip()):
        raise NotVerified("it is signed with another key than the one that is trusted")
    digest = _sha256(path)
    if digest != said["sha256"]:
        raise NotVerified("it was changed after it was signed")
    try:
        public = Ed25519PublicKey.from_public_bytes(_bytes(trusted.strip()))
        public.verify(_bytes(said["signature"]), _statement(said["file"], digest))
    except (InvalidSignature, ValueError):
        raise NotVerified("its signature is wrong") from None
    if said["file"] != path.name:
        raise NotVerified(f"it was signed as {said['file']}, under another name")
    return digest


def _statement(name: str, sha256: str) -> bytes:
    return f"{_PURPOSE}\n{name}\n{sha256}\n".encode()


def _signature(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        raw = file.read(_MAX_SIGNATURE + 1)
    try:
        document: Any = json.loads(raw) if len(raw) <= _MAX_SIGNATURE else None
    except ValueError:
        document = None
    wanted = ("algorithm", "file", "public_key", "sha256", "signature")
    if not isinstance(document, dict) or any(not _is_text(document.get(n)) for n in wanted):
        raise NotVerified(f"{path.name} is no signature of ours")
    return document


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as problem:
        raise ValueError(str(problem)) from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
