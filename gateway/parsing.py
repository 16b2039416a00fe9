"""Reads the raw head of a message, all of it at once, with two parsers that must agree. Pure.

Only the head is given to httptools: where the body ends is for `framing` to say, and what an
Upgrade would turn the rest into does not matter here.
"""

from typing import Final

import httptools

from gateway import raw_heads
from gateway.errors import BadRequest, Headers, UpstreamProtocol
from gateway.raw_heads import RawReply, RawRequest, check_raw_reply, check_raw_request

_CLOSE: Final = b"close"


class _Collector:
    """What the parser says of one head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: Headers = []
        self.whole = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.whole = True


def read_request(raw: bytes) -> RawRequest:
    """A request's head, its empty line included and none before it. Raises GatewayError."""
    if raw.startswith(b"\r\n"):
        raise BadRequest
    said = _Collector()
    parser = httptools.HttpRequestParser(said)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        said.whole = False
    if not said.whole:
        raw_heads.read_request(raw)  # which may have a better word for it
        raise BadRequest
    method = parser.get_method().decode("ascii")
    return check_raw_request(raw, method, said.url, parser.get_http_version(), said.headers)


def read_reply(raw: bytes) -> RawReply:
    """A reply's head, its empty line included. Raises UpstreamProtocol."""
    said = _Collector()
    parser = httptools.HttpResponseParser(said)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        raise UpstreamProtocol from None
    if not said.whole:
        raise UpstreamProtocol
    status, http_version = parser.get_status_code(), parser.get_http_version()
    return check_raw_reply(raw, status, http_version, said.headers)


def stays_open(headers: Headers, http_version: str) -> bool:
    """Whether the sender keeps its connection for another message (RFC 9112 §9.3).

    HTTP/1.0 would have to ask for it; who speaks it here gets a connection each time.
    """
    if http_version != "1.1":
        return False
    for name, value in headers:
        if name == b"connection" and _CLOSE in value.lower():
            tokens = value.lower().split(b",")
            if _CLOSE in [token.strip() for token in tokens]:
                return False
    return True
