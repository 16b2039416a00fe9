"""Which header fields pass the gateway, in which direction, and which it writes itself. Pure.

Names are lower-case bytes and compared with `_` read as `-`, because WSGI and CGI fold the two
(RFC 3875 §4.1.18): `X_Customer_Id` would reach such an upstream as the header we vouch for.
"""

from email.utils import formatdate
from typing import Final
from urllib.parse import quote

from gateway.credentials import IDENTITY_HEADERS
from gateway.decoding import CODINGS
from gateway.errors import Headers

# RFC 9110 §7.6.1; Proxy-Authenticate and Proxy-Authorization by RFC 9110 §11.7.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# What we say of the caller ourselves; whatever came in is replaced.
FORWARDED: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
# `Expect` is answered on this hop, Host and framing are written anew.
REWRITTEN: Final = (
    HOP_BY_HOP | FORWARDED | IDENTITY_HEADERS | {b"host", b"content-length", b"expect"}
)

# Printable ASCII without `%`, so that percent-decoding always gives the original back.
_PLAIN: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def values_of(headers: Headers, wanted: bytes) -> list[bytes]:
    """All values of one header, in order."""
    return [value for name, value in headers if name == wanted]


def first(headers: Headers, wanted: bytes) -> bytes:
    """The first value of a header, empty without one."""
    for name, value in headers:
        if name == wanted:
            return value
    return b""


def passed_on(headers: Headers, without: frozenset[bytes]) -> Headers:
    """The fields in order, less `without` and whatever Connection names."""
    dropped = without | _named_by_connection(headers)
    return [(name, value) for name, value in headers if folded(name) not in dropped]


def folded(name: bytes) -> bytes:
    """The name as the most careless upstream reads it."""
    return name.replace(b"_", b"-") if b"_" in name else name


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    named = b",".join(values_of(headers, b"connection")).lower().split(b",")
    return frozenset(folded(name.strip()) for name in named)


def request_framing(headers: Headers) -> Headers:
    """The field that says how long the body is, as the client sent it; none for no body."""
    if values_of(headers, b"transfer-encoding"):
        return [(b"transfer-encoding", b"chunked")]
    length = first(headers, b"content-length").strip(b" \t")
    return [(b"content-length", length)] if length else []


def forwarded(headers: Headers, *, peer: str, scheme: str, trusted: bool) -> Headers:
    """X-Forwarded-For, -Proto and -Host; a trusted proxy's own statements are carried on."""
    chain = values_of(headers, b"x-forwarded-for") if trusted else []
    proto = first(headers, b"x-forwarded-proto") if trusted else b""
    host = first(headers, b"x-forwarded-host") if trusted else b""
    fields = [
        (b"x-forwarded-for", b", ".join(filter(None, [*chain, peer.encode()]))),
        (b"x-forwarded-proto", proto or scheme.encode()),
        (b"x-forwarded-host", host or first(headers, b"host")),
    ]
    return [field for field in fields if field[1]]


def identity(request_id: str, customer_id: str, customer_name: str) -> Headers:
    """The headers that tell the upstream who calls; a customer without a name gets no name."""
    fields = [
        (b"x-request-id", request_id.encode()),
        (b"x-customer-id", header_text(customer_id)),
        (b"x-customer-name", header_text(customer_name)),
    ]
    return [field for field in fields if field[1]]


def header_text(text: str) -> bytes:
    """Text as a header value: printable ASCII as it is, the rest and `%` as percent-encoded UTF-8.

    Raw UTF-8 would reach most frameworks as mojibake, since they decode fields as Latin-1.
    """
    text = text.strip()
    if text.isascii() and text.isprintable() and "%" not in text:
        return text.encode()  # as quote would
    return quote(text, safe=_PLAIN).encode()


def readable_codings(value: bytes) -> bytes:
    """An Accept-Encoding reduced to codings whose replies the gateway can read usage from."""
    kept = [
        item.strip()
        for item in value.split(b",")
        if item.partition(b";")[0].strip().lower() in CODINGS
    ]
    return b", ".join(kept) or b"identity"


def declared_length(headers: Headers) -> int | None:
    """The Content-Length of a reply, None when there is none that counts (RFC 9112 §6.3)."""
    length = first(headers, b"content-length").strip()
    if values_of(headers, b"transfer-encoding") or not length.isdigit():
        return None
    return int(length)


def dated(headers: Headers, now_ms: int) -> Headers:
    """With a Date field where there is none (RFC 9110 §6.6.1); the upstream's own is left alone."""
    if any(name == b"date" for name, _ in headers):
        return headers
    return [*headers, (b"date", formatdate(now_ms / 1000, usegmt=True).encode())]
