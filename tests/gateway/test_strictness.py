"""Which parsed heads may be acted upon."""

import pytest

from gateway.errors import (
    BadRequest,
    ExpectationFailed,
    GatewayError,
    Headers,
    HeadTooLarge,
    MethodNotImplemented,
    UnsupportedTransferCoding,
    UpstreamProtocol,
    VersionNotSupported,
)
from gateway.strictness import check_reply, check_request, origin_form

HOST = (b"host", b"api.example.com")
CHUNKED = (b"transfer-encoding", b"chunked")


def field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header field."""
    return (name, value)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([], "1.1"),
        ([HOST, HOST], "1.1"),
        ([HOST, HOST], "1.0"),
        ([HOST, CHUNKED, CHUNKED], "1.1"),
        ([HOST, CHUNKED], "1.0"),
        ([HOST, CHUNKED, (b"content-length", b"3")], "1.1"),
        ([HOST, (b"content-length", b"3"), (b"content-length", b"3")], "1.1"),
        ([HOST, (b"content-length", b"+3")], "1.1"),
        ([HOST, (b"content-length", b"3,3")], "1.1"),
        ([HOST, (b"content-length", b"")], "1.1"),
        ([HOST, (b"x", b"a\x0bb")], "1.1"),
        ([HOST, (b"x", b"a\nb")], "1.1"),
        ([HOST, (b"x", b"a\x00b")], "1.1"),
        ([HOST, (b"x y", b"")], "1.1"),
        ([HOST, (b"x\xe9", b"")], "1.1"),
        ([HOST, (b"", b"")], "1.1"),
    ],
)
def test_ambiguous_heads_are_refused(headers: Headers, version: str) -> None:
    """A head that two servers may read differently goes nowhere."""
    with pytest.raises(BadRequest):
        check_request(headers, version)


@pytest.mark.parametrize(
    "host",
    [b"", b" ", b"a b", b"a,b", b"a/b", b"u@a", b"a:b", b"a:80:80", b"a:123456", b"[::1", b"\xe9"],
)
def test_a_malformed_host_is_refused(host: bytes) -> None:
    """Whoever routes by it may read another one."""
    with pytest.raises(BadRequest):
        check_request([field(b"host", host)], "1.1")


@pytest.mark.parametrize("host", [b"a", b"A.b:80", b"10.0.0.1", b"[::1]:8080", b"my_app", b"a:"])
def test_an_honest_host_is_accepted(host: bytes) -> None:
    """Names, addresses, ports."""
    check_request([field(b"host", host)], "1.1")


def test_plain_heads_are_accepted() -> None:
    """HTTP/1.0 needs no Host; a chunked body, a tab, Latin-1 and an empty value are fine."""
    check_request([], "1.0")
    check_request([HOST, (b"transfer-encoding", b"Chunked"), (b"x", b"a\tb\xe9")], "1.1")
    check_request([HOST, (b"content-length", b"0"), (b"x", b""), (b"x", b"")], "1.1")
    check_request([], "2")


@pytest.mark.parametrize(
    "coding", [b"gzip, chunked", b"identity", b"", b"xchunked", b"chunked\xa0", b'"chunked"']
)
def test_other_transfer_codings_are_not_implemented(coding: bytes) -> None:
    """501, since nobody here could say where such a body ends."""
    with pytest.raises(UnsupportedTransferCoding):
        check_request([HOST, (b"transfer-encoding", coding)], "1.1")


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", ""])
def test_other_versions_are_refused(version: str) -> None:
    """httptools lets some of them through."""
    with pytest.raises(VersionNotSupported):
        check_request([HOST], version)


def test_expectations() -> None:
    """One is known, in any case; HTTP/1.0 has none (RFC 9110 §10.1.1)."""
    check_request([HOST, (b"expect", b"100-Continue")], "1.1")
    check_request([HOST, (b"expect", b"whatever")], "1.0")
    for value in (b"", b"y 100-continue", b"100-continue, x", b"200-ok"):
        with pytest.raises(ExpectationFailed):
            check_request([HOST, (b"expect", value)], "1.1")


def test_the_number_of_fields_is_bounded() -> None:
    """One hundred."""
    check_request([HOST] + [(b"x", b"")] * 99, "1.1")
    with pytest.raises(HeadTooLarge):
        check_request([HOST] + [(b"x", b"")] * 100, "1.1")


@pytest.mark.parametrize("status", [0, 101, 199, 600, 999])
def test_impossible_reply_statuses_are_refused(status: int) -> None:
    """Only final statuses are passed on."""
    with pytest.raises(UpstreamProtocol):
        check_reply(status, [])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"a\x01")],
        [(b"x y", b"a")],
        [(b"content-length", b"5"), (b"content-length", b"5")],
        [(b"content-length", b"5, 5")],
        [(b"content-length", b"x")],
        [(b"content-length", b"5"), CHUNKED],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"x", b"")] * 257,
    ],
)
def test_doubtful_replies_are_refused(headers: Headers) -> None:
    """As strictly as requests."""
    with pytest.raises(UpstreamProtocol):
        check_reply(200, headers)


def test_http_1_0_replies_with_chunks_are_refused() -> None:
    """Nobody can say how they end."""
    check_reply(200, [CHUNKED])
    with pytest.raises(UpstreamProtocol):
        check_reply(200, [CHUNKED], "1.0")


def test_odd_but_legal_replies_pass() -> None:
    """Duplicate and empty fields, Latin-1."""
    check_reply(200, [(b"x", b""), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=\xe9")])


@pytest.mark.parametrize(
    ("method", "target", "host", "expected"),
    [
        ("GET", b"/a?b", b"h", b"/a?b"),
        ("GET", b"http://h/a?b", b"h", b"/a?b"),
        ("GET", b"HTTP://H/a", b"h", b"/a"),
        ("GET", b"http://h", b"h", b"/"),
        ("GET", b"http://h?b", b"h", b"/?b"),
        ("GET", b"http://h:80/", b"h", b"/"),
        ("GET", b"https://h/", b"h:443", b"/"),
        ("GET", b"http://[::1]:9/%2e", b"[::1]:9", b"/%2e"),
        ("OPTIONS", b"*", b"h", b"*"),
        ("OPTIONS", b"http://h", b"h", b"*"),
        ("OPTIONS", b"http://h/", b"h", b"/"),
    ],
)
def test_targets_become_origin_form(
    method: str, target: bytes, host: bytes, expected: bytes
) -> None:
    """Path and query stay the bytes that came."""
    assert origin_form(method, target, [field(b"host", host)]) == expected


def test_http_1_0_may_name_the_host_in_the_target_alone() -> None:
    """There is nothing it could differ from."""
    assert origin_form("GET", b"http://h/a", []) == b"/a"


@pytest.mark.parametrize(
    ("method", "target", "error"),
    [
        ("CONNECT", b"h:443", MethodNotImplemented),
        ("CONNECT", b"/", MethodNotImplemented),
        ("GET", b"*", BadRequest),
        ("GET", b"h:443", BadRequest),
        ("GET", b"a", BadRequest),
        ("GET", b"ftp://h/", BadRequest),
        ("GET", b"http:/h/", BadRequest),
        ("GET", b"http:///a", BadRequest),
        ("GET", b"http://u:p@h/", BadRequest),
        ("GET", b"http://other/", BadRequest),
        ("GET", b"http://h:443/", BadRequest),
        ("GET", b"http://h:81/", BadRequest),
    ],
)
def test_other_targets_are_refused(method: str, target: bytes, error: type[GatewayError]) -> None:
    """Tunnels, other schemes, and whatever disagrees with Host."""
    with pytest.raises(error):
        origin_form(method, target, [field(b"host", b"h")])
