"""AK/SK request signing, SDK-HMAC-SHA256 (spec §7.6): the pure function and an httpx.Auth around it."""

import hashlib
import hmac
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx

from metering.clock import Clock

ALGORITHM: Final = "SDK-HMAC-SHA256"
_UNRESERVED: Final = "-_.~"  # besides letters and digits, RFC 3986
CONTENT_HASH: Final = "x-sdk-content-sha256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_SIGNED: Final = ("content-type", "host", "x-stage", CONTENT_HASH)


def sdk_date(now_ms: int) -> str:
    """`yyyyMMdd'T'HHmmss'Z'`, UTC: the form of X-Sdk-Date and of every time in the usage push."""
    return datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def canonical_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """The text whose hash is signed. Every header given is signed; query arguments are sorted.

    `X-Sdk-Content-Sha256` stands in the place of the body's own hash (UNSIGNED-PAYLOAD: none).
    """
    parts = urlsplit(url)
    lines = {name.lower(): value.strip() for name, value in headers.items()}
    return "\n".join(
        (
            method.upper(),
            _path(parts.path),
            _query(parts.query),
            *(f"{name}:{lines[name]}" for name in sorted(lines)),
            "",  # the empty line that ends the headers
            ";".join(sorted(lines)),
            lines.get(CONTENT_HASH) or hashlib.sha256(body).hexdigest(),
        )
    )


def authorization(
    credentials: tuple[str, str], method: str, url: str, headers: Mapping[str, str], body: bytes
) -> str:
    """The Authorization header for (AK, SK). `headers` must hold host and X-Sdk-Date."""
    access, secret = credentials
    signed = {name.lower(): value for name, value in headers.items()}
    canonical = canonical_request(method, url, signed, body).encode()
    digest = hashlib.sha256(canonical).hexdigest()
    to_sign = f"{ALGORITHM}\n{signed['x-sdk-date']}\n{digest}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    names = ";".join(sorted(signed))
    return f"{ALGORITHM} Access={access}, SignedHeaders={names}, Signature={signature}"


def _path(path: str) -> str:
    segments = (quote(unquote(part), safe=_UNRESERVED) for part in path.split("/"))
    encoded = "/".join(segments)
    return encoded if encoded.endswith("/") else encoded + "/"


def _query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in pairs
    )


class AkSkAuth(httpx.Auth):
    """Signs every request with the seller's AK and SK; the secret shows in no repr."""

    requires_request_body = True

    def __init__(self, ak: str, sk: str, clock: Clock) -> None:
        self._credentials = (ak, sk)
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add X-Sdk-Date and Authorization. Of other headers those in _SIGNED are signed."""
        signed = {name: request.headers[name] for name in _SIGNED if name in request.headers}
        signed["x-sdk-date"] = sdk_date(self._clock.now_ms())
        request.headers["x-sdk-date"] = signed["x-sdk-date"]
        request.headers["authorization"] = authorization(
            self._credentials, request.method, str(request.url), signed, request.content
        )
        yield request
