"""V1.0 signatures (spec §3.1, §3.2): `authToken` of a call checked, `Body-Sign` of a reply made. Pure.

The token covers the decoded parameters, so they are decoded here, and nobody may read them before.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from billing_sync.errors import BadEvent, BadSignature
from billing_sync.koogallery.fields import utc_ms

TOKEN: Final = "authToken"  # noqa: S105  (the parameter's name)
STAMP: Final = "timeStamp"
BODY_SIGN: Final = "Body-Sign"
MAX_QUERY: Final = 64 * 1024
MAX_PARAMETERS: Final = 100
AHEAD_MS: Final = 60_000
_MAX_TOKEN: Final = 50


class Proved(NamedTuple):
    """A call whose token is right: its decoded parameters without the token, and its time."""

    parameters: Mapping[str, str]
    sent_at: int


def verify(access_key: str, query: bytes, now_ms: int, max_age_ms: int) -> Proved:
    """Check a V1.0 call's raw query string.

    Raises BadEvent for what cannot be read and for the time, BadSignature for the token. A `+` in a
    value is a space to a form and a plus to a URL, and callers differ: the token says which.
    """
    if len(query) > MAX_QUERY:
        raise BadEvent(f"query is larger than {MAX_QUERY} bytes")
    as_form = _decoded(query, plus_is_space=True)
    sent_at = _sent_at(as_form.get(STAMP, ""))
    readings = [as_form]
    if b"+" in query:
        readings.append(_decoded(query, plus_is_space=False))
    for parameters in readings:
        # The token's own alphabet has a plus and no space.
        given = parameters.pop(TOKEN, "").replace(" ", "+")
        if 0 < len(given) <= _MAX_TOKEN and _matches(access_key, parameters, given):
            _check_age(sent_at, now_ms, max_age_ms)
            return Proved(parameters, sent_at)
    raise BadSignature("authToken is missing or wrong")


def _decoded(query: bytes, *, plus_is_space: bool) -> dict[str, str]:
    decode = unquote_plus if plus_is_space else unquote
    decoded: dict[str, str] = {}
    pairs = query.split(b"&", MAX_PARAMETERS)
    if len(pairs) > MAX_PARAMETERS:
        raise BadEvent(f"more than {MAX_PARAMETERS} parameters")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        try:
            key = decode(name.decode("ascii"), errors="strict")
            text = decode(value.decode("ascii"), errors="strict")
        except UnicodeDecodeError:
            raise BadEvent("query is not URL-encoded UTF-8") from None
        if key in decoded:
            raise BadEvent("a parameter is given twice")
        if pair:
            decoded[key] = text
    return decoded


def _sent_at(stamp: str) -> int:
    if not stamp:
        raise BadEvent(f"{STAMP} is missing")
    return utc_ms(STAMP, stamp)


def _check_age(sent_at: int, now_ms: int, max_age_ms: int) -> None:
    if sent_at - now_ms > AHEAD_MS:
        raise BadEvent(f"{STAMP} is more than 60 s ahead; check both clocks, it is UTC")
    if now_ms - sent_at > max_age_ms:
        raise BadEvent(f"{STAMP} is older than {max_age_ms // 1000} s")


def _matches(access_key: str, parameters: Mapping[str, str], given: str) -> bool:
    expected = auth_token(access_key, parameters)
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def auth_token(access_key: str, parameters: Mapping[str, str]) -> str:
    """The token for these decoded parameters, `timeStamp` among them and the token itself not."""
    data = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return _mac(access_key + parameters[STAMP], data.encode("utf-8", "replace"))


def body_sign(access_key: str, body: bytes) -> str:
    """The value of the `Body-Sign` header, spaced as the documentation prints it."""
    return f'sign_type="HMAC-SHA256", signature= "{_mac(access_key, body)}"'


def _mac(key: str, data: bytes) -> str:
    return base64.b64encode(hmac.digest(key.encode(), data, hashlib.sha256)).decode()
