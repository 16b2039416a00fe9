"""A licence maker to start from: signs licence files with Ed25519.

`koogallery.licence.maker: tallygate.sample_licences:make` calls it; the environment variable
TALLYGATE_LICENCE_KEY names the private key, which `tallygate licences make-key` writes. A file is two
lines of base64: what is licensed, as JSON, and its signature. docs/verify_licence.py accepts them.
"""

import base64
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from billing_sync.licences import LicenceFile, LicenceRequest

VARIABLE: Final = "TALLYGATE_LICENCE_KEY"


def make(request: LicenceRequest) -> LicenceFile:
    """The licence file of a request: always the same for the same one, as Ed25519 is deterministic."""
    said = {
        "licence": request.id,
        "product": request.product_id,
        "customer": request.customer_id,
        "quantity": request.quantity,
        "effective": _iso(request.effective),
        "expires": _iso(request.expires) if request.expires else None,
        "fingerprint": request.fingerprint or None,
    }
    payload = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    lines = [base64.b64encode(each) for each in (payload, _key().sign(payload))]
    return LicenceFile(f"{request.id}.lic", b"\n".join(lines) + b"\n")


def make_key(path: Path) -> Path:
    """Write a new private key, readable by its owner only, and its public key beside it.

    Returns the public key's path. Raises FileExistsError rather than overwrite either.
    """
    public = path.with_name(f"{path.name}.pub")
    if public.exists():
        raise FileExistsError(f"{public} exists; choose another name")
    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(private_pem)
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    public.write_bytes(public_pem)
    return public


def _key() -> Ed25519PrivateKey:
    path = os.environ.get(VARIABLE)
    if not path:
        raise RuntimeError(f"{VARIABLE} names no private key")
    key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{VARIABLE} names a key that is not Ed25519")
    return key


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
