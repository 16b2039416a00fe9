"""Where messages end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import framing
from gateway.errors import BadFraming, Headers, UnknownCoding

CHUNKED = (b"transfer-encoding", b"chunked")


def length(value: bytes) -> tuple[bytes, bytes]:
    """A Content-Length field."""
    return (b"content-length", value)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], 0),
        ([length(b"0")], 0),
        ([length(b"5")], 5),
        ([length(b"005")], 5),
        ([length(b" 5\t")], 5),
        ([length(b"9223372036854775807")], 2**63 - 1),
        ([CHUNKED], framing.CHUNKED),
        ([(b"transfer-encoding", b" Chunked ")], framing.CHUNKED),
    ],
)
def test_requests(headers: Headers, expected: int) -> None:
    """A request without a length has no body."""
    assert framing.request_framing(headers, "1.1") == expected


@pytest.mark.parametrize(
    ("method", "status", "headers", "expected"),
    [
        ("GET", 200, [], framing.UNTIL_CLOSE),
        ("GET", 200, [length(b"5")], 5),
        ("GET", 200, [CHUNKED], framing.CHUNKED),
        ("HEAD", 200, [length(b"5")], 0),
        ("HEAD", 200, [CHUNKED], 0),
        ("GET", 204, [], 0),
        ("GET", 204, [CHUNKED], 0),
        ("GET", 304, [length(b"5")], 0),
        ("GET", 100, [], 0),
        ("GET", 103, [length(b"5")], 0),
        ("GET", 205, [], framing.UNTIL_CLOSE),
    ],
)
def test_replies(method: str, status: int, headers: Headers, expected: int) -> None:
    """RFC 9112 §6.3, in its order."""
    assert framing.reply_framing(method, status, headers, "1.1") == expected


@pytest.mark.parametrize(
    "headers",
    [
        [length(b"5"), length(b"5")],
        [length(b"5"), length(b"6")],
        [length(b"5"), CHUNKED],
        [CHUNKED, CHUNKED],
        [length(b"")],
        [length(b"+5")],
        [length(b"-5")],
        [length(b"0x5")],
        [length(b"5,5")],
        [length(b"5, 5")],
        [length(b"5 5")],
        [length(b"5\x0b")],
        [length(b"1_0")],
        [length(b"5.0")],
        [length(b"\xd9\xa5")],
        [length(b"9" * 20)],
        [length(b"0" * 20)],
        [length(b"9223372036854775808")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"identity")],
        [(b"transfer-encoding", b"")],
    ],
)
def test_doubtful_lengths_are_refused(headers: Headers) -> None:
    """In both directions, and for replies without a body, too."""
    with pytest.raises(BadFraming):
        framing.request_body(headers, "1.1")
    with pytest.raises(BadFraming):
        framing.reply_body("HEAD", 200, headers, "1.1")


def test_http_1_0_knows_no_codings() -> None:
    """Its servers would read the chunks as the next request."""
    with pytest.raises(BadFraming):
        framing.request_body([CHUNKED], "1.0")
    with pytest.raises(BadFraming):
        framing.reply_body("GET", 200, [CHUNKED], "1.0")


@pytest.mark.parametrize(
    "value", [b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;a"]
)
def test_other_codings_are_told_apart(value: bytes) -> None:
    """They are answered 501 and not 400."""
    with pytest.raises(UnknownCoding):
        framing.request_body([(b"transfer-encoding", value)], "1.1")


def test_no_body_is_over_before_it_began() -> None:
    """Everything stands behind it."""
    body = framing.request_body([], "1.1")
    assert body.over
    assert body.closed()
    assert body.feed(b"GET /") == (b"", b"GET /")


def test_a_length_is_counted() -> None:
    """Up to the last byte; what follows is not its own."""
    body = framing.request_body([length(b"5")], "1.1")
    assert (body.feed(b"hel"), body.over) == ((b"hel", b""), False)
    assert not body.closed()
    assert (body.feed(b"loGET"), body.over) == ((b"lo", b"GET"), True)
    assert body.feed(b"X") == (b"", b"X")
    assert body.trailers == []


@pytest.mark.parametrize("announced", [b"5", b"9"])
def test_content_is_not_copied(announced: bytes) -> None:
    """A piece that lies inside the body comes back as it is."""
    piece = b"hello"
    assert framing.request_body([length(announced)], "1.1").feed(piece)[0] is piece
    assert framing.reply_body("GET", 200, [], "1.1").feed(piece)[0] is piece


def test_until_close() -> None:
    """Whole when the connection is closed; then it is over."""
    body = framing.reply_body("GET", 200, [], "1.0")
    assert (body.feed(b"abc"), body.over) == ((b"abc", b""), False)
    assert body.closed()
    assert body.over
    assert body.feed(b"d") == (b"", b"d")
    assert body.trailers == []


def test_a_cut_body_is_not_whole() -> None:
    """Of a length as well as of chunks."""
    for headers in ([length(b"5")], [CHUNKED]):
        body = framing.reply_body("GET", 200, headers, "1.1")
        body.feed(b"2\r\n")
        assert not body.closed()


@given(st.binary(max_size=50), st.lists(st.binary(max_size=10)))
def test_any_pieces_of_a_sized_body(content: bytes, pieces: list[bytes]) -> None:
    """Content is what was announced, and the rest is what stands behind."""
    stream = content + b"".join(pieces)
    body = framing.opened(len(content))
    got, rest = body.feed(content[:7])
    for piece in [content[7:], *pieces]:
        more, behind = body.feed(piece)
        got, rest = got + more, rest + behind
    assert got + rest == stream
    assert got == content
    assert body.over
