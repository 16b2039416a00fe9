"""The chunked coding, in any pieces, against h11, and against what is nearly chunked."""

from dataclasses import dataclass
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import trailers
from gateway.chunked import LAST_CHUNK, MAX_LINE, Chunked, encode_chunk, encode_end
from gateway.errors import BadFraming, Headers


@dataclass
class Read:
    """What came out of a stream of pieces."""

    content: bytes = b""
    rest: bytes = b""
    over: bool = False
    trailers: Headers | None = None
    failed: bool = False


def read(*pieces: bytes) -> Read:
    """Everything that is in these pieces; what comes after the end is kept as rest."""
    body, out = Chunked(), Read()
    for piece in pieces:
        try:
            content, rest = body.feed(piece)
        except BadFraming as error:
            out.content += error.content
            out.failed = True
            return out
        out.content += content
        out.rest += rest
        assert body.over or not rest
    out.over = body.closed()
    out.trailers = body.trailers
    return out


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    at = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[start:end] for start, end in pairwise(at)]


EXTENSIONS = st.sampled_from([b"", b"", b";a", b";a=b", b'; a = "x;y"', b";" + b"e" * 40])
CONTENTS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)
FIELDS = st.lists(
    st.tuples(
        st.from_regex(rb"\Ax-[a-z_]{1,8}\Z").filter(trailers.may_pass),
        st.from_regex(rb"\A([!-~\x80-\xff]([ -~\t]*[!-~])?)?\Z"),
    ),
    max_size=4,
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes, Headers]:
    """A legal chunked stream, its content and its trailers."""
    contents, fields = draw(CONTENTS), draw(FIELDS)
    stream = b""
    for content in contents:
        size = draw(st.sampled_from([b"%x", b"%X", b"%08x"])) % len(content)
        stream += size + draw(EXTENSIONS) + b"\r\n" + content + b"\r\n"
    stream += b"0" * draw(st.integers(0, 3)) + draw(EXTENSIONS).join([encode_end(fields)[:1], b""])
    return stream + encode_end(fields)[1:], b"".join(contents), fields


@given(streams(), st.binary(max_size=20), st.lists(st.integers(0, 2000)))
def test_any_pieces_give_the_same(
    made: tuple[bytes, bytes, Headers], behind: bytes, places: list[int]
) -> None:
    """Content, trailers and what stands behind do not depend on how the stream was cut."""
    stream, content, fields = made
    assert read(*cut(stream + behind, places)) == Read(content, behind, over=True, trailers=fields)


def test_every_place_to_cut() -> None:
    """Also in the middle of a size, an extension, a CRLF, a trailer."""
    stream = b"5;x=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Two: a b\r\n\r\nGET"
    whole = read(stream)
    assert whole == Read(
        b"hello0123456789", b"GET", over=True, trailers=[(b"x-sum", b"1"), (b"x-two", b"a b")]
    )
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            assert read(*cut(stream, [first, second])) == whole


@given(streams())
def test_h11_reads_the_same(made: tuple[bytes, bytes, Headers]) -> None:
    """An independent reader finds the same content and trailers in what we accept."""
    stream, content, fields = made
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    connection.receive_data(stream)
    got = b""
    while isinstance(event := connection.next_event(), h11.Data):
        got += event.data
    assert got == content
    assert isinstance(event, h11.EndOfMessage)
    assert list(event.headers) == fields


MUTATIONS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=4),
        st.sampled_from(
            [b"5", b"0", b"\r\n", b"\n", b"\r", b"hello", b";", b"x", b" ", b"0\r\n\r\n", b"X: y"]
        ),
    ),
    max_size=12,
)


@given(MUTATIONS, st.lists(st.integers(0, 60)))
def test_arbitrary_bytes_fail_alike_or_not_at_all(parts: list[bytes], places: list[int]) -> None:
    """Only BadFraming comes out, and neither it nor the content depends on the pieces."""
    stream = b"".join(parts)
    whole, piecewise = read(stream), read(*cut(stream, places))
    assert piecewise == whole
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@given(CONTENTS, FIELDS)
def test_what_is_written_is_read(contents: list[bytes], fields: Headers) -> None:
    """Round trip, and the end is written by itself."""
    stream = b"".join(map(encode_chunk, contents)) + encode_end(fields)
    assert read(stream) == Read(b"".join(contents), over=True, trailers=fields)


def test_no_data_is_no_chunk() -> None:
    """An empty chunk would end the body."""
    assert encode_chunk(b"") == b""
    assert encode_end([]) == LAST_CHUNK


@pytest.mark.parametrize(
    "stream",
    [
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5 ;a\r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"\r\nhello\r\n",
        b";a\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5\n\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a\x00\r\nhello\r\n",
        b"5\r\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"\xef\xbc\x95\r\nhello\r\n",
        b"5\r\nhelloX",
        b"5\r\nhello\n",
        b"5\r\nhello\r\r",
        b"5\r\nhello\n5\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"10000000000000005\r\nhello\r\n",
        b"8000000000000000\r\n",
        b"ffffffffffffffff\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\nX: y\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n",
    ],
)
def test_what_is_nearly_chunked_is_refused(stream: bytes) -> None:
    """At once, without waiting for what might come, whole or byte by byte."""
    assert read(stream).failed
    assert read(*(stream[at : at + 1] for at in range(len(stream)))).failed


def test_the_largest_size_is_accepted() -> None:
    """2^63 - 1, of which the beginning has come."""
    assert read(b"7fffffffffffffff\r\nabc") == Read(b"abc", trailers=[])


def test_content_before_the_trouble_is_told() -> None:
    """A reply's usage may stand in it."""
    assert read(b"5\r\nhello\r\n2\r\nabc") == Read(b"helloab", failed=True)


@given(MUTATIONS, MUTATIONS)
def test_plain_chunks_may_go_on_as_they_are(before: list[bytes], parts: list[bytes]) -> None:
    """What `plain` takes is what `feed` would, reads alike elsewhere, and leaves nothing open."""
    quick, slow = Chunked(), Chunked()
    data = b"".join(parts)
    try:
        quick.feed(b"".join(before))
        slow.feed(b"".join(before))
    except BadFraming:
        return
    content = quick.plain(data)
    if content is not None:
        assert slow.feed(data) == (content, b"")
        assert read(data, LAST_CHUNK) == Read(content, over=True, trailers=[])
    try:
        expected = slow.feed(b"3\r\nabc\r\n0\r\n\r\n" if content is not None else data)
    except BadFraming:
        return
    assert quick.feed(b"3\r\nabc\r\n0\r\n\r\n" if content is not None else data) == expected


@given(CONTENTS)
def test_chunks_without_ado_are_plain(contents: list[bytes]) -> None:
    """In any number, and with their sizes in either case."""
    stream = b"".join(map(encode_chunk, contents))
    assert Chunked().plain(stream) == (b"".join(contents) if contents else None)
    upper = b"".join([b"%X\r\n%b\r\n" % (len(each), each) for each in contents])
    assert Chunked().plain(upper) == (b"".join(contents) if contents else None)


@pytest.mark.parametrize(
    "data",
    [
        b"5;a=b\r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"000000005\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5_\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"5\r\nhello\r\n5\r\nhel",
        b"5\r\nhello\r",
        b"5\r\nhello!!\r\n",
        b"5\r\nhell\r\n",
        b"5\nhello\r\n",
        b"\r\n\r\n",
        b"",
    ],
)
def test_what_is_not_plain_goes_on_in_our_words(data: bytes) -> None:
    """Extensions, other spellings of a size, ends and parts; and nothing of it has been taken."""
    body = Chunked()
    assert body.plain(data) is None
    assert body.plain(b"5\r\nhello\r\n") == b"hello"


def test_nothing_is_plain_inside_a_chunk() -> None:
    """What looks like chunks there is content."""
    body = Chunked()
    assert body.feed(b"100\r\n") == (b"", b"")
    assert body.plain(b"5\r\nhello\r\n") is None
    assert body.feed(b"5\r\nhello\r\n")[0] == b"5\r\nhello\r\n"
    held = Chunked()
    held.feed(b"1")
    assert held.plain(b"5\r\nhello\r\n") is None


def test_a_piece_inside_a_chunk_is_not_copied() -> None:
    """The very object that came is the content."""
    body = Chunked()
    body.feed(b"100\r\n")
    piece = b"x" * 100
    assert body.feed(piece)[0] is piece


def test_a_line_without_end_is_refused() -> None:
    """Extensions of one line are bounded, whether its end is in sight or not."""
    assert not read(b"5;" + b"e" * (MAX_LINE - 4) + b"\r\nhello\r\n").failed
    assert read(b"5;" + b"e" * (MAX_LINE - 3) + b"\r\nhello\r\n").failed
    assert read(b"5;", b"e" * MAX_LINE).failed


def test_more_extensions_than_content_are_refused() -> None:
    """One byte a chunk and a long extension is an attack; with content to match it is not."""
    flood = b"1;" + b"e" * 1000 + b"\r\nx\r\n"
    assert read(flood * 16) == Read(b"x" * 16, trailers=[])
    assert read(flood * 17).failed
    assert read(*[flood] * 17).failed
    honest = b"400;" + b"e" * 1000 + b"\r\n" + b"x" * 1024 + b"\r\n"
    assert not read(honest * 100).failed


def test_trailers_are_bounded() -> None:
    """In bytes, also while they come, and in number."""
    field = b"X-Trailer: " + b"a" * 100 + b"\r\n"
    assert read(b"0\r\n" + field * 100 + b"\r\n").failed
    assert read(b"0\r\n", *[field] * 100).failed
    assert read(b"0\r\n" + b"x:y\r\n" * 65 + b"\r\n").failed
    assert not read(b"0\r\n" + b"x:y\r\n" * 64 + b"\r\n").failed


@given(st.lists(st.binary(max_size=3000), max_size=6))
def test_little_is_held_back(pieces: list[bytes]) -> None:
    """Never more than an unfinished line or trailer section."""
    body = Chunked()
    for piece in [b"5;a", b"=b\r\nhel", *pieces]:
        try:
            body.feed(piece)
        except BadFraming:
            break
        assert len(body._held) < max(MAX_LINE, trailers.MAX_BYTES)
