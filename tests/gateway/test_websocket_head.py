"""The handshake's heads: what is ours and what passes."""

import pytest

from gateway.errors import BadRequest, GatewayError, Headers, UpgradeRequired
from gateway.passage import RequestHead
from gateway.websocket_head import (
    check,
    is_asked_for,
    offered,
    to_client,
    to_upstream,
    with_key,
)

ASKED: Headers = [
    (b"host", b"gw"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"WebSocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


def head(*protocols: bytes) -> RequestHead:
    """A handshake that offers these subprotocols, one field each."""
    offers = [(b"sec-websocket-protocol", value) for value in protocols]
    return RequestHead("GET", b"/", [*ASKED, *offers], "", "http")


def test_a_handshake_is_recognised() -> None:
    """In any case, among other options."""
    assert is_asked_for(b"GET", "1.1", ASKED)
    check(ASKED)


@pytest.mark.parametrize(
    ("method", "version", "without"),
    [
        (b"POST", "1.1", b""),
        (b"GET", "1.0", b""),
        (b"GET", "1.1", b"upgrade"),
        (b"GET", "1.1", b"connection"),
    ],
)
def test_anything_else_is_none(method: bytes, version: str, without: bytes) -> None:
    """Both fields must ask, by GET, in HTTP/1.1."""
    assert not is_asked_for(method, version, [each for each in ASKED if each[0] != without])


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ((b"sec-websocket-version", b"13"), UpgradeRequired),
        ((b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), BadRequest),
        ((b"sec-websocket-protocol", b"a b"), BadRequest),
        ((b"sec-websocket-protocol", b"a,\x00"), BadRequest),
    ],
)
def test_two_of_a_kind_and_broken_lists_are_refused(
    field: tuple[bytes, bytes], error: type[GatewayError]
) -> None:
    """RFC 6455 §4.2.1."""
    with pytest.raises(error):
        check([*ASKED, field])


def test_subprotocols_are_read_from_every_field() -> None:
    """In order; empty items are none."""
    assert offered(head(b"a, b,", b" c").headers) == [b"a", b"b", b"c"]


def test_a_key_among_the_subprotocols_becomes_a_header() -> None:
    """The others stay."""
    found = with_key(head(b"realtime, openai-insecure-api-key.sk-1", b"beta")).headers
    assert found[len(ASKED) :] == [
        (b"authorization", b"Bearer sk-1"),
        (b"sec-websocket-protocol", b"realtime, beta"),
    ]


def test_a_key_alone_leaves_no_subprotocol() -> None:
    """And a head without a key is left alone."""
    only = with_key(head(b"openai-insecure-api-key.sk-1"))
    assert offered(only.headers) == []
    other = head(b"realtime")
    assert with_key(other) is other


def test_each_hop_shakes_hands_for_itself() -> None:
    """Neither side gets the other's fields, however they are spelled."""
    sent = [*ASKED, (b"sec_websocket_key", b"x"), (b"origin", b"https://a.example")]
    assert to_upstream(sent)[-1] == (b"origin", b"https://a.example")
    assert not {name for name, _ in to_upstream(sent)} & {b"host", b"sec_websocket_key"}
    answered = [
        (b"sec-websocket-accept", b"x"),
        (b"connection", b"Upgrade, x-hop"),
        (b"x-hop", b"1"),
        (b"x-request-id", b"theirs"),
        (b"set-cookie", b"a=b"),
    ]
    assert to_client(answered, "ours") == [(b"set-cookie", b"a=b"), (b"x-request-id", b"ours")]
