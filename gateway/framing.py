"""Where an HTTP/1.1 message ends (RFC 9112 §6.3), and incremental decoders that cut it there. Pure.

A framing is an int, so that it can be remembered together with a head: the length of the body,
CHUNKED or UNTIL_CLOSE. `opened` makes the decoder of one message from it.
"""

import re
from typing import Final, Protocol

from gateway.chunked import Chunked
from gateway.errors import BadFraming, Headers, UnknownCoding
from gateway.headers import values_of

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_BODYLESS: Final = frozenset({204, 304})


class Body(Protocol):
    """Cuts one message's body out of what a connection delivers."""

    @property
    def over(self) -> bool:
        """Whether the message has ended."""

    @property
    def trailers(self) -> Headers:
        """The fields behind the body that may pass, once it is over."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in `data`, and what stands behind the message's end. Raises BadFraming.

        Where all of `data` is content, the very same object comes back.
        """

    def closed(self) -> bool:
        """The connection was closed. Whether the message is whole."""


class Sized:
    """A body of so many bytes; of none, too."""

    __slots__ = ("left", "over")

    def __init__(self, length: int) -> None:
        self.left = length
        self.over = not length

    @property
    def trailers(self) -> Headers:
        """None: only chunked bodies have any."""
        return []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in `data`, and what stands behind the message's end."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data, b""
        end = self.left
        self.left = 0
        self.over = True
        return data[:end], data[end:]

    def closed(self) -> bool:
        """The connection was closed. Whether the message is whole."""
        return self.over


class UntilClose:
    """A reply's body that ends with the connection, so that nobody knows whether it is whole."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    @property
    def trailers(self) -> Headers:
        """None: only chunked bodies have any."""
        return []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """All of it is content."""
        return (b"", data) if self.over else (data, b"")

    def closed(self) -> bool:
        """The connection was closed, which is the end."""
        self.over = True
        return True


def opened(framing: int) -> Body:
    """The decoder of one message with this framing."""
    if framing >= 0:
        return Sized(framing)
    return Chunked() if framing == CHUNKED else UntilClose()


def request_body(headers: Headers, http_version: str) -> Body:
    """The decoder of a request's body. Raises BadFraming."""
    return opened(request_framing(headers, http_version))


def reply_body(method: str, status: int, headers: Headers, http_version: str) -> Body:
    """The decoder of the body of a reply to `method`. Raises BadFraming."""
    return opened(reply_framing(method, status, headers, http_version))


def request_framing(headers: Headers, http_version: str) -> int:
    """How a request's body ends: its length, 0 for none, or CHUNKED. Raises BadFraming."""
    announced = _announced(headers, http_version)
    return 0 if announced is None else announced


def reply_framing(method: str, status: int, headers: Headers, http_version: str) -> int:
    """How the body of a reply to `method` ends. Raises BadFraming."""
    announced = _announced(headers, http_version)
    if method == "HEAD" or status < 200 or status in _BODYLESS:
        return 0
    return UNTIL_CLOSE if announced is None else announced


def _announced(headers: Headers, http_version: str) -> int | None:
    codings = values_of(headers, b"transfer-encoding")
    lengths = values_of(headers, b"content-length")
    if len(codings) + len(lengths) > 1:
        raise BadFraming("Send one length: Content-Length or Transfer-Encoding, once.")
    if codings:
        if http_version == "1.0":
            raise BadFraming("HTTP/1.0 knows no Transfer-Encoding.")
        if codings[0].strip(b" \t").lower() != b"chunked":
            raise UnknownCoding
        return CHUNKED
    return _length(lengths[0].strip(b" \t")) if lengths else None


def _length(value: bytes) -> int:
    if not _LENGTH.fullmatch(value) or (length := int(value)) >= 2**63:
        raise BadFraming("Content-Length must be 1 to 19 digits.")
    return length
