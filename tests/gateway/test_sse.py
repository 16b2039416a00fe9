"""Event streams are cut the same way however their bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sse import BOM, Parser, Piece

CORPUS = {
    "line feeds": b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n',
    "carriage returns and line feeds": b"event: start\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n",
    "carriage returns": b"data: 1\rdata: 2\r\rdata: 3\r\r",
    "mixed": b"data: 1\r\ndata: 2\n\r\ndata: 3\r\n\rdata: 4\n\n\r\r",
    "comments": b": hello\n\n: keep-alive\ndata: 1\n: inside\ndata: 2\n\n:\n:\n",
    "fields": b"id: 7\nretry: 10\nevent: e\ndata\ndata: a\nother: x\n\nevent: lonely\n\ndata: b\n\n",
    "byte order mark": BOM + b"data: 1\n\n" + BOM + b"data: not a field\n\n",
    "unicode": "data: 用量\u2028\x85\x0b\n\n".encode(),
    "no last newline": b"data: 1\n\ndata: 2",
    "no last blank line": b"data: 1\n\ndata: 2\r\n",
}


def parse(chunks: list[bytes], limit: int = 1024, *, keep_raw: bool = True) -> list[Piece]:
    """All pieces of a stream that arrives in these chunks."""
    parser = Parser(limit, keep_raw=keep_raw)
    pieces = [piece for chunk in chunks for piece in parser.feed(chunk)]
    last = parser.finish()
    return pieces if last is None else [*pieces, last]


def events(chunks: list[bytes], limit: int = 1024) -> list[tuple[bytes, bytes]]:
    """Name and data of the events among them."""
    return [(p.name, p.data) for p in parse(chunks, limit) if p.data is not None]


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm, line by line over the whole text, with a blank line added."""
    text = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[tuple[bytes, bytes]] = []
    data: list[bytes] = []
    name = b""
    for line in (text + b"\n\n").split(b"\n"):
        field, _, value = line.partition(b":")
        if not line:
            found += [(name, b"\n".join(data))] if data else []
            data, name = [], b""
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return found


streams = st.lists(
    st.sampled_from(
        [b"data:", b"data", b"event: e", b":", b" ", b"x", b"\n", b"\r", b"\r\n", b"\n\n", BOM]
    )
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream and the chunks it arrives in."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("stream", CORPUS.values(), ids=CORPUS.keys())
def test_events_are_those_of_the_standard(stream: bytes) -> None:
    """The whole stream at once and byte by byte give what the standard's algorithm gives."""
    assert events([stream]) == reference(stream)
    assert events([stream[i : i + 1] for i in range(len(stream))]) == reference(stream)


@pytest.mark.parametrize("stream", CORPUS.values(), ids=CORPUS.keys())
def test_every_pair_of_cuts(stream: bytes) -> None:
    """Two cuts anywhere change nothing."""
    expected = events([stream])
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1, 3):
            chunks = [stream[:first], stream[first:second], stream[second:]]
            assert events(chunks) == expected, (first, second)


@settings(deadline=None)
@given(cut_streams())
def test_any_bytes_in_any_pieces(case: tuple[bytes, list[bytes]]) -> None:
    """Any bytes cut anywhere give the standard's events, and come out again byte for byte."""
    stream, chunks = case
    assert events(chunks) == reference(stream)
    assert b"".join(piece.raw for piece in parse(chunks)) == stream


@settings(deadline=None)
@given(cut_streams())
def test_bounds_do_not_depend_on_the_cuts(case: tuple[bytes, list[bytes]]) -> None:
    """What is over the bound, and so cannot be taken out whole, is decided by the bytes alone."""
    stream, chunks = case

    def finished(pieces: list[Piece]) -> list[tuple[bytes, bytes, bool]]:
        return [(p.data, p.name, p.whole) for p in pieces if p.data is not None]

    assert finished(parse(chunks, 8)) == finished(parse([stream], 8))
    assert b"".join(piece.raw for piece in parse(chunks, 8)) == stream


@settings(deadline=None)
@given(cut_streams())
def test_skipping_loses_no_event_in_progress(case: tuple[bytes, list[bytes]]) -> None:
    """Passing over whole events leaves the others as they are."""
    _, chunks = case
    parser, found = Parser(1024), []
    for chunk in chunks:
        rest = chunk if b"x" in chunk else parser.skip(chunk)
        found += parser.feed(rest)
    last = parser.finish()
    found += [] if last is None else [last]
    kept = [(p.name, p.data) for p in found if p.data is not None and b"x" in p.data]
    assert kept == [event for event in events(chunks) if b"x" in event[1]]


def test_one_space_after_the_colon_is_not_data() -> None:
    """`data:x` and `data: x` are the same; a second space is part of the data."""
    assert events([b"data:x\n\ndata: x\n\ndata:  x\n\n"]) == [
        (b"", b"x"),
        (b"", b"x"),
        (b"", b" x"),
    ]


def test_raw_bytes_of_an_event_reach_to_its_blank_line() -> None:
    """An event's bytes hold all its lines, those of its neighbours stay with them."""
    pieces = parse([b": c\r\ndata: 1\r\nid: 3\r\n\r\ndata: 2\n\n"])
    assert [piece.raw for piece in pieces] == [
        b": c\r\n",
        b"data: 1\r\nid: 3\r\n\r\n",
        b"data: 2\n\n",
    ]


def test_a_comment_between_events_is_not_held_back() -> None:
    """A keep-alive comes out when it came in."""
    assert Parser(keep_raw=True).feed(b": keep-alive\n") == [Piece(b": keep-alive\n")]


def test_raw_bytes_are_kept_only_on_request() -> None:
    """Without raw bytes a piece carries its event alone."""
    assert parse([b": c\ndata: 1\n\n"], keep_raw=False) == [Piece(b"", b"1")]


def test_a_line_over_the_bound_is_passed_over() -> None:
    """The stream goes on behind it, and nothing of it was held."""
    parser = Parser(64, keep_raw=True)
    out = b"".join(p.raw for _ in range(100) for p in parser.feed(b"data: " + b"x" * 1000))
    assert len(parser._line) <= 64
    assert len(parser._raw) <= 64
    assert len(out) > 99 * 1006
    rest = parser.feed(b"\ndata: {}\n\ndata: next\n\n")
    assert [piece.data for piece in rest if piece.data is not None] == [b"next"]


def test_a_comment_over_the_bound_costs_no_event() -> None:
    """A comment is no data: its event is read, though it can no longer be taken out whole."""
    pieces = parse([b"data: a\n:" + b"x" * 100 + b"\ndata: b\n\n"], 64)
    assert [(p.data, p.whole) for p in pieces if p.data is not None] == [(b"a\nb", False)]


def test_an_event_over_the_bound_is_passed_over() -> None:
    """Many short lines are bounded like one long line."""
    stream = b"data: 1234567\n" * 10 + b"\ndata: next\n\n"
    assert events([stream], 64) == [(b"", b"next")]
    parser = Parser(64)
    for _ in range(1000):
        parser.feed(b"data: 1234567\n")
    assert len(parser._data) <= 9


def test_a_line_at_the_bound_is_read() -> None:
    """The bound is the longest line that still counts, in one piece or in many."""
    for value, expected in ((b"x" * 58, [(b"", b"x" * 58)]), (b"x" * 59, [])):
        stream = b"data: " + value + b"\n\n"
        assert events([stream], 64) == expected
        assert events([stream[i : i + 1] for i in range(len(stream))], 64) == expected


def test_an_event_at_the_bound_is_read() -> None:
    """Its data, each line with its line end, may be as long as the longest line."""
    assert events([b"data: 1234567\n" * 8 + b"\n"], 64) == [(b"", b"\n".join([b"1234567"] * 8))]
    assert events([b"data: 1234567\n" * 9 + b"\n"], 64) == []


def test_skipping_leaves_the_event_in_progress() -> None:
    """Behind the last blank line, whatever its line ends."""
    assert Parser().skip(b"data: 1\n\ndata: 2\n\ndata: 3\n") == b"data: 3\n"
    assert Parser().skip(b"data: 1\r\n\r\ndata: 2\r\n") == b"data: 2\r\n"
    assert Parser().skip(b"data: 1\r\n") == b"data: 1\r\n"
    parser = Parser()
    parser.feed(b"data: 1\n")
    assert parser.skip(b"data: 2\n\n") == b"data: 2\n\n"
