"""What passes the gateway in which direction."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import headers

HOST = (b"host", b"api.example.com")


@pytest.mark.parametrize("name", sorted(headers.HOP_BY_HOP))
def test_hop_by_hop_headers_end_here(name: bytes) -> None:
    """A header of one connection does not reach the next."""
    assert headers.passed_on([(name, b"x"), (b"accept", b"*/*")], headers.HOP_BY_HOP) == [
        (b"accept", b"*/*")
    ]


def test_headers_named_by_connection_end_here() -> None:
    """Connection may name any header, in several fields and in any case."""
    sent = [
        (b"connection", b"close, X-One"),
        (b"x-one", b"1"),
        (b"connection", b"x_two"),
        (b"x-two", b"2"),
        (b"x-three", b"3"),
    ]
    assert headers.passed_on(sent, headers.HOP_BY_HOP) == [(b"x-three", b"3")]


@pytest.mark.parametrize(
    "name", [b"x-customer-id", b"x_customer_id", b"x-customer_id", b"x_request-id", b"x_real_ip"]
)
def test_every_spelling_of_our_own_headers_is_removed(name: bytes) -> None:
    """An underscore does not carry a header past us that a WSGI upstream reads as ours."""
    assert headers.passed_on([(name, b"evil")], headers.REWRITTEN) == []


def test_duplicates_stay_in_order() -> None:
    """Two fields of one name are two fields."""
    sent = [(b"accept", b"a"), (b"x", b"1"), (b"accept", b"b")]
    assert headers.passed_on(sent, headers.REWRITTEN) == sent


def test_a_length_goes_on_without_the_space_around_it() -> None:
    """Some servers take the value literally."""
    assert headers.request_framing([(b"content-length", b"5 ")]) == [(b"content-length", b"5")]


def test_forwarded_headers_of_a_stranger_are_replaced() -> None:
    """What an untrusted peer says of itself counts for nothing."""
    sent = [HOST, (b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-proto", b"https")]
    assert headers.forwarded(sent, peer="203.0.113.9", scheme="http", trusted=False) == [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"api.example.com"),
    ]


def test_forwarded_headers_of_a_trusted_proxy_are_carried_on() -> None:
    """The chain grows by the proxy; scheme and host stay the caller's."""
    sent = [
        HOST,
        (b"x-forwarded-for", b"198.51.100.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example.com"),
    ]
    assert headers.forwarded(sent, peer="10.0.0.1", scheme="http", trusted=True) == [
        (b"x-forwarded-for", b"198.51.100.7, 10.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example.com"),
    ]


def test_a_caller_without_an_address_has_none_to_forward() -> None:
    """A Unix socket's peer leaves the chain as it was."""
    sent = [HOST, (b"x-forwarded-for", b"198.51.100.7")]
    trusted = headers.forwarded(sent, peer="", scheme="http", trusted=True)
    assert trusted[0] == (b"x-forwarded-for", b"198.51.100.7")
    alone = headers.forwarded(sent, peer="", scheme="http", trusted=False)
    assert b"x-forwarded-for" not in dict(alone)


def test_a_chinese_name_travels_percent_encoded() -> None:
    """Spaces stay readable, everything beyond ASCII is UTF-8 in percent signs."""
    assert headers.header_text("示例 Ltd 100%") == b"%E7%A4%BA%E4%BE%8B Ltd 100%25"


@given(st.text())
def test_any_text_survives_the_header(text: str) -> None:
    """The value is a legal field, and percent-decoding gives the text back."""
    value = headers.header_text(text)
    assert all(0x20 <= byte < 0x7F for byte in value)
    assert value == value.strip()
    assert unquote(value.decode()) == text.strip()


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        (b"gzip, deflate, br, zstd", b"gzip, deflate, br, zstd"),
        (b"br;q=1.0, GZIP;q=0.5, compress", b"br;q=1.0, GZIP;q=0.5"),
        (b"compress, dcb, dcz", b"identity"),
        (b"identity", b"identity"),
        (b"*", b"identity"),
        (b"", b"identity"),
    ],
)
def test_only_readable_codings_are_asked_for(asked: bytes, passed: bytes) -> None:
    """A reply in any other could not be counted."""
    assert headers.readable_codings(asked) == passed


def test_a_length_beside_chunks_does_not_count() -> None:
    """RFC 9112 §6.3: Transfer-Encoding overrides Content-Length."""
    both = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]
    assert headers.declared_length(both) is None
    assert headers.declared_length(both[:1]) == 5


def test_a_reply_without_a_date_gets_one() -> None:
    """A proxy with a clock adds it, as RFC 9110 §6.6.1 asks; the upstream's own stays."""
    own = [(b"date", b"Sun, 22 Nov 2026 21:04:09 GMT")]
    assert headers.dated(own, 0) == own
    assert headers.dated([(b"a", b"b")], 0) == [
        (b"a", b"b"),
        (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    ]
