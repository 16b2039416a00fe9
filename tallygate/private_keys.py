"""Looks at the file of the seller's RSA key when the configuration is read: a key that the marketplace
cannot use would otherwise show with the first customer."""

from pathlib import Path

from billing_sync.errors import PrivateKeyUnsuitable
from billing_sync.koogallery.kit_secrets import MAX_PEM, private_key


def wrong_with(path: Path) -> str | None:
    """What is wrong with the file, as a sentence about it; None where it can be used."""
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_PEM + 1)
    except OSError as problem:
        return f"{path} cannot be read: {problem.strerror}"
    if len(pem) > MAX_PEM:
        return f"{path} is larger than {MAX_PEM} bytes; is this the right file?"
    try:
        private_key(pem)
    except PrivateKeyUnsuitable as problem:
        return f"{path} {problem}"
    return None
