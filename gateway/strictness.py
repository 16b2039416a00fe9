"""Which parsed heads, of requests and of replies, may be acted upon: the rules of both shells. Pure.

Refused is what two servers may read differently, and what nobody may pass on. How a head must be
written, byte by byte, stands in raw_heads.py.
"""

import re
from typing import Final

from gateway.errors import (
    BadFraming,
    BadRequest,
    ExpectationFailed,
    Headers,
    HeadTooLarge,
    MethodNotImplemented,
    UnknownCoding,
    UnsupportedTransferCoding,
    UpstreamProtocol,
    VersionNotSupported,
)
from gateway.framing import reply_framing, request_framing
from gateway.headers import values_of

MAX_REQUEST_FIELDS: Final = 100
MAX_REPLY_FIELDS: Final = 256

_MEANT: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3"})  # the latter two as ASGI servers say them
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 3986 §3.2.2 without sub-delims, which stand in no honest name but in lists of two.
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def check_request(headers: Headers, http_version: str) -> None:
    """Refuse heads that two servers may read differently. Raises GatewayError.

    RFC 9112 §3.2 (Host) and §6 (framing), RFC 9110 §10.1.1 (Expect).
    """
    if http_version not in _VERSIONS:
        raise VersionNotSupported
    if len(headers) > MAX_REQUEST_FIELDS:
        raise HeadTooLarge("There are too many header fields.")
    if not _well_formed(headers):
        raise BadRequest("A header field holds characters that no field may hold.")
    check_request_meaning(headers, http_version)


def check_request_meaning(headers: Headers, http_version: str) -> None:
    """The part of `check_request` that is about fields whose characters are known to be good."""
    few = [each for each in headers if each[0] in _MEANT]
    _check_host(values_of(few, b"host"), http_version)
    try:
        request_framing(few, http_version)
    except UnknownCoding:
        raise UnsupportedTransferCoding from None
    except BadFraming as error:
        raise BadRequest(str(error)) from None
    if http_version != "1.0":  # whose clients know of no expectations
        _check_expectations(values_of(few, b"expect"))


def check_reply(status: int, headers: Headers, http_version: str = "1.1") -> None:
    """Refuse heads of final replies that no server may pass on. Raises UpstreamProtocol."""
    if not 200 <= status < 600 or len(headers) > MAX_REPLY_FIELDS or not _well_formed(headers):
        raise UpstreamProtocol
    try:
        reply_framing("GET", status, headers, http_version)
    except BadFraming:
        raise UpstreamProtocol from None


def origin_form(method: str, target: bytes, headers: Headers) -> bytes:
    """The target in origin form, or `*`, otherwise as it came (RFC 9112 §3.2).

    In an absolute target the authority counts and not Host; since a client must send both alike,
    and others may go by Host, we refuse where they differ. Raises BadRequest, MethodNotImplemented.
    """
    if method == "CONNECT":
        raise MethodNotImplemented
    if target.startswith(b"/"):
        return target
    if target == b"*" and method == "OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _AUTHORITY.fullmatch(match[2]):
        raise BadRequest("The request target must be a path, or an http or https URL.")
    scheme, authority, rest = match.groups()
    default_port = _DEFAULT_PORTS[scheme.lower()]
    for host in values_of(headers, b"host"):
        if _plain(host, default_port) != _plain(authority, default_port):
            raise BadRequest("Host and the request target must name the same host.")
    if not rest and method == "OPTIONS":
        return b"*"  # RFC 9112 §3.2.4
    return rest if rest.startswith(b"/") else b"/" + rest


def _plain(authority: bytes, default_port: bytes) -> bytes:
    return authority.strip(b" \t").lower().removesuffix(default_port).removesuffix(b":")


def _well_formed(headers: Headers) -> bool:
    return all(_NAME.fullmatch(name) and not _CONTROL.search(value) for name, value in headers)


def _check_host(hosts: list[bytes], http_version: str) -> None:
    if len(hosts) > 1 or (http_version == "1.1" and not hosts):
        raise BadRequest("Send exactly one Host header.")
    if hosts and not _AUTHORITY.fullmatch(hosts[0].strip(b" \t")):
        raise BadRequest("Host must be a host name or an IP address, and perhaps a port.")


def _check_expectations(values: list[bytes]) -> None:
    if any(value.strip(b" \t").lower() != b"100-continue" for value in values):
        raise ExpectationFailed
