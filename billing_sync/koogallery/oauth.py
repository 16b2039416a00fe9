"""OAuth 2.0 as tenants' authentication centres speak it (spec §5): addresses, forms, replies. Pure.

The authorization code flow of RFC 6749. PKCE (RFC 7636) is sent where it is wanted; centres that do
not know it ignore it. `state` is letters and digits, as the centre asks for.
"""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from billing_sync.errors import SignInAway, SignInRefused

_AUTHORIZE: Final = "/api/v1/oauth2/authorize"
TOKEN: Final = "/api/v1/oauth2/token"  # noqa: S105  (a path)
USERINFO: Final = "/api/v1/oauth2/userinfo"
_LOGOUT: Final = "/api/v1/logout"
_SCOPE: Final = "get_user_info"
_LIFE_S: Final = 7200  # of an access token whose centre does not say
_LONGEST_S: Final = 30 * 86_400
_INSIDE: Final = (".localhost", ".local", ".internal")
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,62}")

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]
Name = Annotated[str, msgspec.Meta(max_length=256)]


class Tokens(msgspec.Struct):
    """What the centre gave. `expires_in` seconds."""

    access_token: Token
    refresh_token: Token | None = None
    expires_in: int | str | None = None
    token_type: str = "Bearer"  # noqa: S105  (its kind)

    @property
    def life_s(self) -> int:
        """How long the access token is good; some centres write the number as text."""
        text = str(self.expires_in)
        found = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else _LIFE_S
        return min(found, _LONGEST_S)


class Somebody(msgspec.Struct, rename={"user_name": "userName"}):
    """Who signed in, in the centre's words."""

    user_name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    name: Name = ""


class _Problem(msgspec.Struct):
    error: Name = ""


class Client(NamedTuple):
    """As whom the merchant asks."""

    centre: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Client(centre={self.centre!r}, client_id={self.client_id!r})"


def centre_of(domain_name: str, *, loopback: bool) -> str:
    """The centre's base URL. With `loopback` also one on this machine without TLS, for simulators.

    Raises SignInRefused for anything but `https://name` with an optional port: what a callback told is
    not asked for anything inside our network.
    """
    try:
        parts = urlsplit(domain_name.strip())
        if _is_plain(parts) and _may_be_asked(parts, loopback=loopback):
            return f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        pass
    raise SignInRefused("the tenant's domainName is no https:// address of a centre")


def _is_plain(parts: SplitResult) -> bool:
    """A host and maybe a port, and nothing else."""
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return bool(parts.hostname) and not extra and parts.port != 0 and parts.netloc.isascii()


def _may_be_asked(parts: SplitResult, *, loopback: bool) -> bool:
    host = (parts.hostname or "").removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Browsers and libraries differ about anything but letters, digits and hyphens. An address in any
        # other spelling, such as 127.1 or 127.0.0.0x1, ends with a number.
        named = _NAME.fullmatch(host) is not None and not host.endswith(_INSIDE)
        return parts.scheme == "https" and named
    return loopback and parts.scheme == "http" and address.is_loopback


def challenge_of(verifier: str) -> str:
    """S256 of RFC 7636."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorize_url(client: Client, redirect_uri: str, state: str, verifier: str) -> str:
    """Where the browser is sent; without a verifier there is no challenge."""
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": _SCOPE,
        "state": state,
    }
    if verifier:
        asked |= {"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"}
    return f"{client.centre}{_AUTHORIZE}?{urlencode(asked)}"


def logout_url(centre: str, back: str) -> str:
    """Where the browser is sent to end its session at the centre; it comes `back`."""
    return f"{centre}{_LOGOUT}?{urlencode({'redirect_url': back})}"


def code_form(client: Client, code: str, redirect_uri: str, verifier: str) -> dict[str, str]:
    """What a code is exchanged with."""
    form = {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        "code": code,
        "redirect_uri": redirect_uri,
    }
    return form | ({"code_verifier": verifier} if verifier else {})


def refresh_form(client: Client, refresh_token: str) -> dict[str, str]:
    """What new tokens are asked for with."""
    return {
        "grant_type": "refresh_token",
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        "refresh_token": refresh_token,
    }


def bearer(access_token: str) -> Mapping[str, str]:
    """The headers of a question for who somebody is."""
    return {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}


def tokens_of(status: int, body: bytes) -> Tokens:
    """Raises SignInRefused for a refusal, SignInAway for anything else that holds no tokens."""
    _refuse(status, body)
    try:
        tokens = msgspec.json.decode(body, type=Tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SignInAway("the centre's tokens cannot be read") from None
    if tokens.token_type.lower() != "bearer":
        raise SignInAway("the centre gave a token that is no Bearer token")
    return tokens


def somebody_of(status: int, body: bytes) -> Somebody:
    """Raises as `tokens_of`."""
    _refuse(status, body)
    try:
        return msgspec.json.decode(body, type=Somebody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SignInAway("the centre does not say who it is") from None


def _refuse(status: int, body: bytes) -> None:
    if 400 <= status < 500 and status not in (408, 429):
        try:
            error = msgspec.json.decode(body, type=_Problem).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            error = ""
        known = error if error.replace("_", "").isalnum() and error.isascii() else "no reason"
        raise SignInRefused(f"the centre answered {status}: {known[:64]}")
    if status != 200:
        raise SignInAway(f"the centre answered {status}")
