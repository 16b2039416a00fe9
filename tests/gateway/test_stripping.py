"""What was injected is taken out to the byte; everything else stays."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import BOM, Parser
from gateway.stripping import strip

COMPACT = {"separators": (",", ":")}
SPACED = {"separators": (" , ", " : ")}
STYLES = {"compact": COMPACT, "default": {}, "spaced": SPACED, "multi-line": {"indent": 2}}


def event(document: object, style: dict[str, object], end: str = "\n") -> bytes:
    """An event with this document as its data, serialised in a style."""
    text = json.dumps(document, **style)  # type: ignore[arg-type]  # json's many keywords
    return "".join(f"data: {line}{end}" for line in text.split("\n")).encode() + end.encode()


def stripped(raw: bytes) -> bytes:
    """The event without what was injected."""
    parser = Parser(1_000_000, keep_raw=True)
    pieces = [*parser.feed(raw), parser.finish()]
    [data] = [piece.data for piece in pieces if piece is not None and piece.data is not None]
    return strip(raw, data)


CHUNKS = [
    {"id": "c", "choices": [{"delta": {"content": 'say "usage":null, \\"usage\\": null'}}]},
    {"choices": [{"delta": {}, "usage": None}], "x": {"usage": None, "y": 1}},
    {"a": {"usage": None}, "b": [{"usage": None}, {"usage": None}]},
    {"only": "one"},
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_null_usage_leaves_no_trace(
    chunk: dict[str, object], place: int, style: dict[str, object], end: str
) -> None:
    """First, in the middle or last, in any style: the bytes are those of a chunk that never had it."""
    items = list(chunk.items())
    with_usage = dict([*items[:place], ("usage", None), *items[place:]])
    assert stripped(event(with_usage, style, end)) == event(chunk, style, end)


def test_usage_as_the_only_member() -> None:
    """An object of nothing else becomes an empty one."""
    assert stripped(b'data: {"usage":null}\n\n') == b"data: {}\n\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
def test_the_usage_event_is_dropped(style: dict[str, object], end: str) -> None:
    """Usage with an empty list of choices is the event that was asked for."""
    assert stripped(event({"choices": [], "usage": {"prompt_tokens": 1}}, style, end)) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[1],"x":{"usage":null},"usage":{}}\n\n',
        b'data: {"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[],"usage":"text"}\n\n',
        b'data: {"choices":[],"x":{"usage":null}}\n\n',
        b'data: {"usage":null,"usage":{"prompt_tokens":1},"choices":[1]}\n\n',
        b'data: {"usage":null,"x":"\xff\n\n',
        b'data: {"usage":null,"x":NaN}\n\n',
        b'data: "usage":null\n\n',
        b'data: ["usage", {"usage":null}]\n\n',
        b"data: [DONE]\n\n",
        b'data: {"a":1,\nid: "x"\ndata: "usage":null}\n\n',
    ],
)
def test_everything_else_stays(raw: bytes) -> None:
    """A chunk with content, a nested member, or what cannot be read is not touched."""
    assert stripped(raw) == raw


def test_other_lines_of_the_event_stay() -> None:
    """Only the member goes; ids, comments and a byte order mark do not."""
    raw = BOM + b'data: {"a":1,\n: c\nid: 5\ndata: "b":2,\ndata:"usage":null}\nevent: x\n\n'
    assert stripped(raw) == BOM + b'data: {"a":1,\n: c\nid: 5\ndata: "b":2}\nevent: x\n\n'


@given(
    st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.integers()), max_size=4),
    st.sampled_from(list(STYLES.values())),
    st.integers(0, 4),
    st.booleans(),
)
def test_any_chunk(
    chunk: dict[str, object], style: dict[str, object], place: int, ascii_only: bool
) -> None:
    """Whatever else a chunk holds, it comes out as the server would have sent it."""
    chunk.pop("usage", None)
    style = style | {"ensure_ascii": ascii_only}
    items = list(chunk.items())
    with_usage = dict([*items[:place], ("usage", None), *items[place:]])
    expected = event(chunk, style) if chunk else b""
    out = stripped(event(with_usage, style))
    assert out == expected or not chunk


def test_a_name_written_in_another_way_is_not_confused_with_one_inside() -> None:
    """Only the member of the event itself was put in; this one is further inside."""
    raw = b'data: {"x":{"usage":null},"us\\u0061ge":null}\n\n'
    assert stripped(raw) == raw
