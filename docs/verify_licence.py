"""Checks a licence file of Tallygate's sample maker. Put it into your software, and the public key too.

    python verify_licence.py PUBLIC_KEY LICENCE_FILE [FINGERPRINT]

Needs `cryptography` alone. Exit code 0: valid, and what it says is printed. 1: it is not, and why.
"""

import base64
import binascii
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Invalid(Exception):
    """The licence must not be accepted; the text says why."""


def verify(public_key: bytes, licence: bytes, fingerprint: str, now: datetime) -> dict:
    """What the licence says, once everything about it is right. Raises Invalid."""
    key = load_pem_public_key(public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise Invalid("the public key is not Ed25519")
    try:
        payload, signature = (base64.b64decode(line, validate=True) for line in licence.split())
        key.verify(signature, payload)
    except (ValueError, binascii.Error):
        raise Invalid("not a licence file") from None
    except InvalidSignature:
        raise Invalid("not signed with this key, or changed since") from None
    said = json.loads(payload)
    if said["fingerprint"] is not None and said["fingerprint"] != fingerprint:
        raise Invalid("for another device")
    if now < _time(said["effective"]):
        raise Invalid(f"not valid before {said['effective']}")
    if said["expires"] is not None and now >= _time(said["expires"]):
        raise Invalid(f"expired at {said['expires']}")
    return said


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def main(arguments: list) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    public_key, licence = (Path(name).read_bytes() for name in arguments[:2])
    fingerprint = arguments[2] if len(arguments) == 3 else ""
    try:
        said = verify(public_key, licence, fingerprint, datetime.now(timezone.utc))
    except Invalid as reason:
        print(f"invalid: {reason}", file=sys.stderr)
        return 1
    print(json.dumps(said, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
