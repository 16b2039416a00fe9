"""A sign-in that was begun and not ended: what its browser holds, sealed, until it comes back. Pure.

The `state` that the centre hands back must be the one in this cookie, so that nobody is signed in by a
link that somebody else made.
"""

import base64
import binascii
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag

from billing_sync.errors import SignInRefused
from metering import keys

LIFE_MS: Final = 600_000
_PURPOSE: Final = "tallygate sealed begun sign-in"
_LONGEST: Final = 4096


class Pending(NamedTuple):
    """`ends` UTC ms. `restarts`: how often it was begun anew because no state came back."""

    state: str
    verifier: str
    tenant_id: str
    instance_id: str
    app_id: str
    ends: int
    restarts: int = 0


def sealed(secret: bytes, pending: Pending, nonce: bytes) -> str:
    """The cookie's value."""
    text = msgspec.json.encode(tuple(pending)).decode()
    standard = keys.seal(secret, text, nonce, _PURPOSE)
    return base64.urlsafe_b64encode(base64.b64decode(standard)).rstrip(b"=").decode()


def opened(secret: bytes, cookie: str, now_ms: int) -> Pending:
    """The inverse. Raises SignInRefused for one that is over, or was not sealed by us."""
    if not cookie or len(cookie) > _LONGEST:
        raise SignInRefused("no sign-in was begun in this browser")
    try:
        raw = base64.urlsafe_b64decode(cookie.encode("ascii") + b"=" * (-len(cookie) % 4))
        text = keys.unseal(secret, base64.b64encode(raw).decode(), _PURPOSE)
        pending = msgspec.json.decode(text, type=Pending)
    except (InvalidTag, ValueError, binascii.Error) as problem:
        raise SignInRefused("the begun sign-in cannot be read") from problem
    if not 0 < pending.ends - now_ms <= LIFE_MS:
        raise SignInRefused("the sign-in took too long")
    return pending
