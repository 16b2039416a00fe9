"""Verification of `SDK-HMAC-SHA256` requests to the open APIs (spec §7.6). Pure."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from .signing import same
from .times import MINUTE_MS, parse_record_time

ALGORITHM: Final = "SDK-HMAC-SHA256"
TOLERANCE_MS: Final = 15 * MINUTE_MS  # what the API gateway in front of the open APIs allows
_AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 Access=([^,\s]+), ?SignedHeaders=([a-z0-9;_-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class SignedRequest:
    """A request as it was signed; header names in lower case, `path` and `query` as on the wire."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def refusal(request: SignedRequest, ak: str, sk: str, now_ms: int) -> str | None:
    """Why this request is not the seller's, or None when it is."""
    parts = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if parts is None:
        return f"Authorization is not '{ALGORITHM} Access=…, SignedHeaders=…, Signature=…'"
    access, names, given = parts.group(1), parts.group(2).split(";"), parts.group(3)
    if access != ak:
        return "the AK is unknown"
    if reason := _date_refusal(request, names, now_ms):
        return reason
    if missing := [name for name in names if name not in request.headers]:
        return f"signed header {missing[0]} is not in the request"
    if not same(signature(request, names, sk), given):
        return "the signature does not fit the request"
    return None


def signs_host(request: SignedRequest) -> bool:
    """Whether `host` is among the signed headers, as the vendor's SDKs do it."""
    parts = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return parts is not None and "host" in parts.group(2).split(";")


def signature(request: SignedRequest, names: list[str], sk: str) -> str:
    """Lower-case hex; `names` are the signed headers, all present in the request."""
    date = request.headers.get("x-sdk-date", "")
    digest = hashlib.sha256(canonical_request(request, names).encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{date}\n{digest}"
    return hmac.new(sk.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def canonical_request(request: SignedRequest, names: list[str]) -> str:
    """The text whose hash is signed."""
    ordered = sorted(names)
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in ordered)
    lines = (
        request.method,
        _canonical_path(request.path),
        _canonical_query(request.query),
        headers,
        ";".join(ordered),
        _body_hash(request, ordered),
    )
    return "\n".join(lines)


def _canonical_path(path: str) -> str:
    encoded = "/".join(_encode(unquote(part)) for part in path.split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in pairs)


def _body_hash(request: SignedRequest, names: list[str]) -> str:
    declared = request.headers.get("x-sdk-content-sha256")
    if declared == "UNSIGNED-PAYLOAD" and "x-sdk-content-sha256" in names:
        return declared
    return hashlib.sha256(request.body).hexdigest()


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _date_refusal(request: SignedRequest, names: list[str], now_ms: int) -> str | None:
    if "x-sdk-date" not in names:
        return "X-Sdk-Date must be among the signed headers"
    date = parse_record_time(request.headers.get("x-sdk-date"))
    if date is None:
        return "X-Sdk-Date must be yyyyMMdd'T'HHmmss'Z'"
    if abs(now_ms - date) > TOLERANCE_MS:
        return "X-Sdk-Date is more than 15 minutes from now"
    return None
