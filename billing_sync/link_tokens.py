"""Links to a customer's page: what stands in one, and how it is signed. Pure.

    token = base64url(JSON [customer, instance, expires, revision]) "." base64url(HMAC-SHA256)

Nothing in it is secret but the signature; its key is derived from the installation's `secret_key`.
A link without an end is bound to an instance and lives as long as that (see store/links.py): what the
marketplace holds must read the same whenever it asks.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

import msgspec

from billing_sync.errors import BadLink
from metering import keys

PATH: Final = "/usage"
DEBUG_TOKEN: Final = "debug"  # noqa: S105  (it opens nothing)
MAX_TOKEN: Final = 1024
_PURPOSE: Final = "tallygate usage link"
_VERSION: Final = b"link-1 "

Text = Annotated[str, msgspec.Meta(max_length=256)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Link(NamedTuple):
    """Whose page it opens: all of a customer's, or one instance's. `expires` UTC s, 0 as long as the
    instance; `revision` is the customer's when it was made."""

    customer_id: Text
    instance_id: Text = ""
    expires: Number = 0
    revision: Number = 0


def signing_key(secret: bytes) -> bytes:
    """The subkey that signs links."""
    return keys.derive(secret, _PURPOSE)


def token_of(key: bytes, link: Link) -> str:
    """The link's last part."""
    payload = _text(msgspec.json.encode(tuple(link)))
    return f"{payload}.{_signature(key, payload)}"


def read(key: bytes, token: str) -> Link:
    """What stands in a token that was signed with this key; its time and revision are not judged.

    Raises BadLink.
    """
    payload, _, signature = token.partition(".")
    right = _signature(key, payload).encode()
    if len(token) > MAX_TOKEN or not hmac.compare_digest(right, signature.encode()):
        raise BadLink("not a link of ours")
    try:
        return msgspec.json.decode(_bytes(payload), type=Link)
    except (binascii.Error, msgspec.MsgspecError) as problem:
        raise BadLink("a link of another version") from problem


def _signature(key: bytes, payload: str) -> str:
    return _text(hmac.digest(key, _VERSION + payload.encode(), hashlib.sha256))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))


@dataclass(frozen=True)
class UsageLinks:
    """The links of one installation; `base_url` is where customers reach the control plane."""

    base_url: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, base_url: str, secret: bytes) -> "UsageLinks":
        """Signed with the installation's secret key."""
        return cls(base_url.rstrip("/"), signing_key(secret))

    def url(self, link: Link) -> str:
        """The whole address."""
        return f"{self.base_url}{PATH}/{token_of(self.key, link)}"

    def read(self, token: str) -> Link:
        """As the function of this name."""
        return read(self.key, token)

    @property
    def debug_url(self) -> str:
        """What debugging requests are told: nobody's page."""
        return f"{self.base_url}{PATH}/{DEBUG_TOKEN}"
