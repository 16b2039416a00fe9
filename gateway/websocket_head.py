"""The handshake of a WebSocket: what of its two heads is ours, and what passes (RFC 6455 §4). Pure.

Browsers cannot set headers on a WebSocket. As with OpenAI's own API they may offer their key as the
subprotocol `openai-insecure-api-key.KEY`; it is read as `Authorization: Bearer KEY` and not offered
to the upstream.
"""

import base64
import binascii
import re
from dataclasses import replace
from typing import Final

from gateway.errors import BadRequest, Headers, UpgradeRequired
from gateway.headers import HOP_BY_HOP, folded, passed_on, values_of
from gateway.passage import RequestHead

KEY_PROTOCOL: Final = b"openai-insecure-api-key."

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PROTOCOLS: Final = b"sec-websocket-protocol"
# Each hop shakes hands for itself. Date is written by the server in front.
_OURS: Final = frozenset(
    {
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    }
)
_NOT_TO_UPSTREAM: Final = _OURS | {b"host", b"content-length", b"transfer-encoding"}
_NOT_TO_CLIENT: Final = HOP_BY_HOP | _OURS | {b"date", b"content-length", b"x-request-id"}


def is_asked_for(method: bytes, http_version: str, headers: Headers) -> bool:
    """Whether the head asks for a WebSocket; any other `Upgrade` is ignored (RFC 9110 §7.8)."""
    if method != b"GET" or http_version != "1.1":
        return False
    options = b",".join(values_of(headers, b"connection")).lower().split(b",")
    upgrade = [value.strip().lower() for value in values_of(headers, b"upgrade")]
    return upgrade == [b"websocket"] and b"upgrade" in map(bytes.strip, options)


def check(headers: Headers) -> None:
    """Refuse what is no handshake (RFC 6455 §4.2.1). Raises BadRequest or UpgradeRequired."""
    if values_of(headers, b"sec-websocket-version") != [b"13"]:
        raise UpgradeRequired
    keys = values_of(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadRequest("Send one Sec-WebSocket-Key: 16 bytes in Base64.")
    offered(headers)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def offered(headers: Headers) -> list[bytes]:
    """The subprotocols the client offers, in order. Raises BadRequest for what is no token."""
    listed = b",".join(values_of(headers, _PROTOCOLS)).split(b",")
    protocols = [stripped for each in listed if (stripped := each.strip(b" \t"))]
    if not all(map(_TOKEN.fullmatch, protocols)):
        raise BadRequest("Sec-WebSocket-Protocol is a list of tokens.")
    return protocols


def with_key(head: RequestHead) -> RequestHead:
    """The head with a key that was offered as subprotocol where other clients send it."""
    protocols = offered(head.headers)
    keys = [each[len(KEY_PROTOCOL) :] for each in protocols if each.startswith(KEY_PROTOCOL)]
    if not keys:
        return head
    left = [each for each in protocols if not each.startswith(KEY_PROTOCOL)]
    headers = [field for field in head.headers if field[0] != _PROTOCOLS]
    headers += [(b"authorization", b"Bearer " + key) for key in keys]
    headers += [(_PROTOCOLS, b", ".join(left))] if left else []
    return replace(head, headers=headers)


def to_upstream(headers: Headers) -> Headers:
    """The fields that go into a handshake of our own; Host is written there."""
    return [field for field in headers if folded(field[0]) not in _NOT_TO_UPSTREAM]


def to_client(headers: Headers, request_id: str) -> Headers:
    """The fields of the upstream's answer the client gets."""
    return [*passed_on(headers, _NOT_TO_CLIENT), (b"x-request-id", request_id.encode())]
