"""Reads the heads of HTTP/1.1 messages from their bytes, exactly as RFC 9112 writes them. Pure.

This is a second reading, independent of the parser's: what both do not read alike goes nowhere. It
is done once for each distinct head and then remembered, so it is written to be read.
"""

import re
from typing import Final, NamedTuple

from gateway.errors import (
    BadRequest,
    Headers,
    HeadTooLarge,
    TargetTooLong,
    UpstreamProtocol,
    VersionNotSupported,
)
from gateway.strictness import (
    MAX_REPLY_FIELDS,
    MAX_REQUEST_FIELDS,
    check_reply,
    check_request_meaning,
)

MAX_REQUEST_LINE: Final = 16384

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]"
# Methods are case-sensitive tokens, but some servers fold them, so that lower case is refused. The
# target is printable ASCII without `#`: a fragment is the client's own business (RFC 9112 §3.2).
_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)?([!#$%&'*+\-.^_`|~0-9A-Z]{1,32}) ([\x21\x22\x24-\x7e]+) HTTP/([0-9]\.[0-9])\r\n"
)
_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: (%b*))?\r\n" % _TEXT)
_FIELD: Final = re.compile(rb"(%b++):(%b*+)\r\n" % (_TOKEN, _TEXT))
# No possessive group (`)*+`): before Python 3.11.5 some match wrongly (gh-106052).
_FIELDS: Final = re.compile(rb"(?:%b++:%b*+\r\n)*\r\n" % (_TOKEN, _TEXT))


class RawRequest(NamedTuple):
    """A request's head: target as it came, names in lower case, values without the space around."""

    method: str
    target: bytes
    http_version: str
    headers: Headers


class RawReply(NamedTuple):
    """A reply's head, final or interim; names in lower case, values without the space around."""

    http_version: str
    status: int
    reason: bytes
    headers: Headers


def read_request(raw: bytes) -> RawRequest:
    """The head that is all of `raw`, the empty line at its end included. Raises GatewayError.

    One empty line may stand before it (RFC 9112 §2.2).
    """
    if raw.find(b"\r\n", 2) + 2 > MAX_REQUEST_LINE:
        raise TargetTooLong
    line = _REQUEST_LINE.match(raw)
    if line is None or not _FIELDS.fullmatch(raw, line.end()):
        raise BadRequest
    version = line[3].decode()
    if version not in {"1.0", "1.1"}:
        raise VersionNotSupported
    if raw.count(b"\n", line.end()) > MAX_REQUEST_FIELDS + 1:
        raise HeadTooLarge("There are too many header fields.")
    headers = _fields(raw, line.end())
    check_request_meaning(headers, version)
    return RawRequest(line[1].decode(), line[2], version, headers)


def check_raw_request(
    raw: bytes, method: str, target: bytes, http_version: str, headers: Headers
) -> RawRequest:
    """The head as we read it, which must be as the parser read it. Raises GatewayError."""
    ours = read_request(raw)
    if ours != (method, target, http_version, _comparable(headers)):
        raise BadRequest
    return ours


def read_reply(raw: bytes) -> RawReply:
    """The head that is all of `raw`, the empty line at its end included. Raises UpstreamProtocol.

    The body of an interim reply (1xx) is none, whatever its head says.
    """
    line = _STATUS_LINE.match(raw)
    if line is None or not _FIELDS.fullmatch(raw, line.end()):
        raise UpstreamProtocol
    if raw.count(b"\n") > MAX_REPLY_FIELDS + 2:
        raise UpstreamProtocol
    version, status, headers = line[1].decode(), int(line[2]), _fields(raw, line.end())
    if status >= 200:
        check_reply(status, headers, version)
    return RawReply(version, status, line[3] or b"", headers)


def check_raw_reply(raw: bytes, status: int, http_version: str, headers: Headers) -> RawReply:
    """The head as we read it, which must be as the parser read it. Raises UpstreamProtocol."""
    ours = read_reply(raw)
    if (ours.status, ours.http_version, ours.headers) != (
        status,
        http_version,
        _comparable(headers),
    ):
        raise UpstreamProtocol
    return ours


def _fields(raw: bytes, start: int) -> Headers:
    return [(name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(raw, start)]


def _comparable(headers: Headers) -> Headers:
    return [(name.lower(), value.strip(b" \t")) for name, value in headers]
