"""Replies' heads that were seen before, or nearly, amount to what they would amount to if read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamProtocol
from gateway.known_replies import KnownReply, Replies
from gateway.parsing import read_reply

OK = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nDate: now\r\nContent-Length: 3\r\nX-A: b\r\n\r\n"


def seen(replies: Replies, raw: bytes) -> KnownReply:
    """A final reply's head as the shell has it known."""
    return replies.get(raw) or replies.read(raw, read_reply(raw))


def plain() -> Replies:
    """Of requests of the usual kind."""
    return Replies(head_only=False, injected=False)


def test_a_replys_head_is_kept() -> None:
    """By its bytes."""
    replies = plain()
    assert replies.get(OK) is None
    reply = seen(replies, OK)
    assert replies.get(OK) is reply
    assert (reply.status, reply.framing, reply.reusable, reply.plain) == (200, 3, True, True)


def test_a_head_that_differs_in_what_passes_need_not_be_read() -> None:
    """Nor one of another length; where it comes again it is kept."""
    replies = plain()
    seen(replies, OK)
    other = OK.replace(b"X-A: b", b"x-b:  c ").replace(b": 3", b": 1234")
    reply = replies.get(other)
    assert reply is not None
    assert (reply.framing, reply.answer.length) == (1234, 1234)
    assert reply.head.before == (
        b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ndate: now\r\nx-b: c\r\ncontent-length: 1234\r\n"
        b"x-request-id: "
    )
    assert replies.get(other) == reply
    assert replies.get(other) is replies.get(other)


@pytest.mark.parametrize("raw", [b"", b"HTT", OK[:-2], OK[:-4], OK + b"x", b"\r\n\r\n"])
def test_what_is_no_head_is_not_known(raw: bytes) -> None:
    """Whatever has come of one so far."""
    replies = plain()
    seen(replies, OK)
    assert replies.get(raw) is None


def test_what_is_known_is_bounded() -> None:
    """Heads nobody sent before push the others out, now and then."""
    replies = plain()
    for number in range(2000):
        seen(replies, OK.replace(b"X-A", b"Content-Encoding: %d\r\nX-A" % number))
        assert len(replies.kept) <= 512
    long = OK.replace(b"X-A", b"X-%b: y\r\nX-A" % (b"a" * 5000))
    seen(replies, long)
    assert long not in replies.kept


def test_what_connection_names_does_not_pass() -> None:
    """Though it would otherwise."""
    replies = plain()
    for field in (b"", b"X-Hop: 1\r\n", b"X-Hop: 2\r\n"):
        raw = OK.replace(b"X-A", b"Connection: x-hop\r\n%bX-A" % field)
        assert b"x-hop" not in seen(replies, raw).head.before


def test_a_reply_of_no_length_is_written_as_if_it_were_read() -> None:
    """Fields that pass stand before its length, whatever came first."""
    replies = plain()
    bare = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    seen(replies, bare)
    more = bare.replace(b"Content", b"X-A: b\r\nContent")
    assert seen(replies, more) == seen(plain(), more)


def test_a_length_that_is_not_of_the_body_is_no_length_to_go_by() -> None:
    """As in replies to HEAD, and where an event will be taken out."""
    stream = OK.replace(b"a/b", b"text/event-stream")
    for raw, replies in (
        (OK, Replies(head_only=True, injected=False)),
        (OK.replace(b"200", b"304"), plain()),
        (stream, Replies(head_only=False, injected=True)),
    ):
        first = seen(replies, raw)
        other = seen(replies, raw.replace(b": 3", b": 44"))
        assert other.framing == (first.framing and 44)
        assert other.answer.length == (first.answer.length and 44)


def test_a_reply_that_will_be_changed_need_not_be_read_either() -> None:
    """Its own length is the upstream's body's, and is not handed on."""
    replies = Replies(head_only=False, injected=False, normalize=True)
    said = OK.replace(b"a/b", b"application/json")
    seen(replies, said)
    other = replies.get(said.replace(b": 3", b": 44").replace(b"now", b"then"))
    assert other is not None
    assert (other.framing, other.answer.length, other.head.unsized) == (44, None, True)
    assert b"content-length" not in other.head.before


LINES = st.sampled_from(
    [
        b"Content-Length: 5", b"content-length:7", b"Content-Length: 0", b"Content-Length: 05",
        b"Content-Length:", b"Content-Length: 5, 5", b"Content-Length: 1" + b"0" * 18, b"Content_Length: 3",
        b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: X-A", b"Connection: Date",
        b"Date: now", b"date:then", b"X-Date: date: x", b"X-A: 1", b"x-a:2 ", b"X_A: 3", b"X-Request-Id: 4",
        b"Content-Type: text/event-stream", b"content-type: application/json", b"Content-Encoding: gzip",
        b"Keep-Alive: 5", b"Set-Cookie: a", b"Set-Cookie: b", b"X-A", b"X-A : 5", b"X: \x00", b" folded: 1",
        b"\x00", b": x",
    ]
)  # fmt: skip
STARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"HTTP/1.1 304 ", b"HTTP/1.1 404 x"]
)


@settings(deadline=None, max_examples=400)
@given(
    STARTS,
    st.lists(LINES, max_size=2),
    st.lists(st.lists(LINES, max_size=2), max_size=8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_is_known_is_what_would_be_read(
    start: bytes,
    lines: list[bytes],
    others: list[list[bytes]],
    head_only: bool,
    injected: bool,
    normalize: bool,
) -> None:
    """Whatever heads came before."""
    replies = Replies(head_only=head_only, injected=injected, normalize=normalize)
    for other in others * 2:
        raw = b"\r\n".join([start, *lines, *other, b"", b""])
        fresh = Replies(head_only=head_only, injected=injected, normalize=normalize)
        assert outcome(replies, raw) == outcome(fresh, raw)


def outcome(replies: Replies, raw: bytes) -> KnownReply | None:
    try:
        return seen(replies, raw)
    except UpstreamProtocol:
        return None
