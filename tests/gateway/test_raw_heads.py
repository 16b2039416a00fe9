"""How heads must be written, and that the parser reads what we accept as we do."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import raw_heads
from gateway.errors import (
    BadRequest,
    GatewayError,
    Headers,
    HeadTooLarge,
    TargetTooLong,
    UpstreamProtocol,
    VersionNotSupported,
)

LINE = b"GET /v1/x?a=b HTTP/1.1\r\n"
HOST = b"Host: gw\r\n"


class Parsed:
    """A head as httptools reads it."""

    def __init__(self, raw: bytes) -> None:
        self.target = b""
        self.headers: Headers = []
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(raw)
        self.method = parser.get_method().decode()
        self.http_version = parser.get_http_version()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def test_a_request_is_read() -> None:
    """Names in lower case, values without the space around them, everything else as it came."""
    raw = LINE + HOST + b"X-One:\t a  b \t\r\nx-one:\r\nX_Two: \xe9\r\n\r\n"
    assert raw_heads.read_request(raw) == (
        "GET",
        b"/v1/x?a=b",
        "1.1",
        [(b"host", b"gw"), (b"x-one", b"a  b"), (b"x-one", b""), (b"x_two", b"\xe9")],
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"\r\n\r\n" + LINE + HOST + b"\r\n",
        b"\n" + LINE + HOST + b"\r\n",
        LINE + HOST,
        LINE + HOST + b"\r\nX",
        LINE + b"\r\n" + HOST + b"\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        b" GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET / http/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.10\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/+1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTPS/1.1\r\n" + HOST + b"\r\n",
        b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\x7f HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\x0b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G" * 33 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        LINE + b" " + HOST + b"\r\n",
        LINE + b"\tX: y\r\n" + HOST + b"\r\n",
        LINE + HOST + b"X: a\r\n b\r\n\r\n",
        LINE + HOST + b"X: a\r\n\tb: c\r\n\r\n",
        LINE + HOST + b"X : a\r\n\r\n",
        LINE + HOST + b"X\t: a\r\n\r\n",
        LINE + HOST + b"X Y: a\r\n\r\n",
        LINE + HOST + b": a\r\n\r\n",
        LINE + HOST + b"X\r\n\r\n",
        LINE + HOST + b"X\xe9: a\r\n\r\n",
        LINE + HOST + b"X(: a\r\n\r\n",
        LINE + HOST + b"X: a\rb\r\n\r\n",
        LINE + HOST + b"X: a\nb: c\r\n\r\n",
        LINE + HOST + b"X: a\x00\r\n\r\n",
        LINE + HOST + b"X: a\r\r\n\r\n",
        LINE + HOST + b"X: a\x7f\r\n\r\n",
        LINE + HOST + b"X: a\n\r\n",
        LINE + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        LINE + HOST + HOST + b"\r\n",
        LINE + b"\r\n",
    ],
)
def test_what_is_not_written_so_is_refused(raw: bytes) -> None:
    """Byte by byte, and by the rules for what is parsed."""
    with pytest.raises(BadRequest):
        raw_heads.read_request(raw)


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/0.9\r\n", b"GET / HTTP/1.2\r\n", b"GET / HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n"],
)
def test_other_versions_are_refused(line: bytes) -> None:
    """505, also for the preface of HTTP/2."""
    with pytest.raises(VersionNotSupported):
        raw_heads.read_request(line + b"\r\n")


def test_the_request_line_is_bounded() -> None:
    """414, whatever else is wrong with it."""
    room = raw_heads.MAX_REQUEST_LINE - len(b"GET / HTTP/1.1\r\n")
    fits = b"GET /" + b"a" * room + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    assert len(raw_heads.read_request(fits).target) == room + 1
    with pytest.raises(TargetTooLong):
        raw_heads.read_request(fits.replace(b"/a", b"/aa", 1))


def test_the_number_of_fields_is_bounded() -> None:
    """431 for requests, 502 for replies."""
    assert len(raw_heads.read_request(LINE + HOST + b"X: y\r\n" * 99 + b"\r\n").headers) == 100
    with pytest.raises(HeadTooLarge):
        raw_heads.read_request(LINE + HOST + b"X: y\r\n" * 100 + b"\r\n")
    status = b"HTTP/1.1 200 OK\r\n"
    assert len(raw_heads.read_reply(status + b"X: y\r\n" * 256 + b"\r\n").headers) == 256
    with pytest.raises(UpstreamProtocol):
        raw_heads.read_reply(status + b"X: y\r\n" * 257 + b"\r\n")


def test_one_empty_line_before_a_request_is_skipped() -> None:
    """Old clients end a body with one that does not belong to it."""
    raw = LINE + HOST + b"\r\n"
    assert raw_heads.read_request(b"\r\n" + raw) == raw_heads.read_request(raw)


def test_two_readings_must_agree() -> None:
    """What the parser reads otherwise is refused; space around a value is no difference."""
    raw = LINE + HOST + b"X-One: a \r\n\r\n"
    ours = raw_heads.read_request(raw)
    seen = [(b"Host", b"gw"), (b"X-One", b"a ")]
    assert raw_heads.check_raw_request(raw, "GET", b"/v1/x?a=b", "1.1", seen) == ours
    for other in (
        ("POST", b"/v1/x?a=b", "1.1", seen),
        ("GET", b"/v1/x", "1.1", seen),
        ("GET", b"/v1/x?a=b", "1.0", seen),
        ("GET", b"/v1/x?a=b", "1.1", seen[:1]),
    ):
        with pytest.raises(BadRequest):
            raw_heads.check_raw_request(raw, *other)


PARTS = st.one_of(
    st.sampled_from(
        [
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b":",
            b"X",
            b"Content-Length: 5",
            b"a",
            b"\x00",
            b"\xe9",
        ]
    ),
    st.from_regex(rb"\A[A-Za-z-]{1,5}: ?[ -~]{0,8}\r\n\Z"),
    st.binary(max_size=3),
)


@given(
    st.lists(PARTS, max_size=8), st.sampled_from([b"GET /a?b", b"POST http://gw/", b"OPTIONS *"])
)
def test_the_parser_reads_what_we_accept_as_we_do(parts: list[bytes], start: bytes) -> None:
    """Whatever passes our reading is one whole head for httptools, with the same fields."""
    raw = start + b" HTTP/1.1\r\n" + HOST + b"".join(parts) + b"\r\n\r\n"
    try:
        ours = raw_heads.read_request(raw)
    except GatewayError:
        return
    parsed = Parsed(raw)
    assert parsed.complete
    assert ours == raw_heads.check_raw_request(
        raw, parsed.method, parsed.target, parsed.http_version, parsed.headers
    )


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_our_own_words(raw: bytes) -> None:
    """Nothing but the gateway's errors comes out."""
    for read in (raw_heads.read_request, raw_heads.read_reply):
        try:
            read(raw)
        except GatewayError:
            continue


def test_a_reply_is_read() -> None:
    """With or without a reason, also Latin-1; interim replies, too."""
    assert raw_heads.read_reply(b"HTTP/1.1 200 Tr\xe8s bien\r\nX: \xe9\r\nx:\r\n\r\n") == (
        "1.1",
        200,
        b"Tr\xe8s bien",
        [(b"x", b"\xe9"), (b"x", b"")],
    )
    assert raw_heads.read_reply(b"HTTP/1.0 404 \r\n\r\n") == ("1.0", 404, b"", [])
    assert raw_heads.read_reply(b"HTTP/1.1 500\r\n\r\n") == ("1.1", 500, b"", [])
    assert raw_heads.read_reply(b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n").status == 103


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\nZ: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_a_reply_not_written_so_is_refused(raw: bytes) -> None:
    """As strictly as a request."""
    with pytest.raises(UpstreamProtocol):
        raw_heads.read_reply(raw)


def test_two_readings_of_a_reply_must_agree() -> None:
    """What the parser reads otherwise is refused."""
    raw = b"HTTP/1.1 200 OK\r\nX-One: a \r\n\r\n"
    seen = [(b"X-One", b"a ")]
    assert raw_heads.check_raw_reply(raw, 200, "1.1", seen) == raw_heads.read_reply(raw)
    for status, version, headers in ((201, "1.1", seen), (200, "1.0", seen), (200, "1.1", [])):
        with pytest.raises(UpstreamProtocol):
            raw_heads.check_raw_reply(raw, status, version, headers)
