"""What was injected is taken out to the byte; everything else stays."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import BOM, Parser
from gateway.stripping import strip, strip_null, strip_nulls

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


VALUES = [
    "null",
    "2.5",
    "false",
    "1",
    '"x"',
    "[{}]",
    '[{"a":"\\n"}]',
    '"é"',
    '"\\u00e9"',
    '"\\"usage\\":null"',
    '{"usage":null}',
    "tru",
]
NAMES = ['"a"', '"choices"', '"é"', '"b"', '"\\u00e9"', '"usage"', '"us\\u0061ge"']
COMMAS = [",", ", ", " ,", "\t,", "},{", "} {"]


def mostly(usual: str, others: list[str]) -> st.SearchStrategy[str]:
    """The first of two kinds, seven times of eight."""
    kinds = [usual] * 7 * len(others) + others
    return st.sampled_from(kinds)


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([":", ":", ":", ": "]),
        st.sampled_from(VALUES),
        mostly(",", COMMAS),
    ),
    max_size=2,
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An event of one line that is usual, or nearly."""
    members = "".join(map("".join, draw(MEMBERS)))
    start = draw(mostly("data: {", ["data:{", 'data: {"x":[{', "data: "]))
    alike = draw(mostly('"c":[1],', ['"c":1 ,', '"c":"",', "", '"c":[1]}, {']))
    null = draw(mostly('"usage":null', ['"b":2', '"usage":nul', '"usage": null', '"usage":{}']))
    end = draw(mostly("}", ['},"x":[', "}]}", "} ", "}\xff"]))
    return f"{start}{members}{alike}{null}{end}\n\n".encode().replace("\xff".encode(), b"\xff")


@given(lines())
def test_the_quick_way_agrees_for_one_event(raw: bytes) -> None:
    """Whatever it does itself, the long way would have done."""
    assert strip_null(raw, raw.find(b'"usage"')) in (None, stripped(raw))


@given(st.lists(lines(), min_size=1, max_size=4), st.booleans())
def test_the_quick_way_agrees_for_several_events(events: list[bytes], alike: bool) -> None:
    """Their proof holds together where it holds for each."""
    if alike:
        events = [event for event in events if strip_null(event, event.find(b'"usage"'))]
    raw = b"".join(events)
    quick = strip_nulls(raw, raw.find(b'"usage"'))
    assert quick in (None, b"".join([stripped(event) for event in events]))


def test_the_quick_way_is_taken() -> None:
    """By the chunks of the known servers, those with other alphabets and line feeds included."""
    for content in ("word", "два", "a\\nb", '\\"usage\\":null'):
        plain = f'data: {{"id":"c","choices":[{{"delta":{{"content":"{content}"}}}}],"x":1}}\n\n'
        less = plain.encode()
        raw = less.replace(b'],"x"', b'],"usage":null,"x"')
        at = raw.find(b'"usage"')
        assert strip_null(raw, at) == less
        assert strip_nulls(raw * 3, at) == less * 3


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"a":[1],"usage":null} {}\n\ndata: {"x":[{}\n\ndata: {"a":[1],"usage":null}]}\n\n',
        b'data: {"a":[1],"usage":null}{"a":[1],"usage":null}\n\ndata: {"x":[{},\n\ndata: {}]}\n\n',
        b'data: {"a":[1],"usage":null},{"a":[1],"usage":null}\n\ndata: {}\n\n',
        b'data: {"a":[1],"usage":null}\n\nevent: {"a":[1],"usage":null}\n\n',
        b'data: {"a":"}\n\ndata: {","b":[1],"usage":null}\n\n',
        b'data: {"a":[1],"usage":null}\n\ndata: {"x":{"a":[1],"usage":null}}\n\n',
        b'data: {"a":[1],"usage":null}\n{"a":[1],"usage":null}\n\n',
        b'data: {"a":[1],"usage":null}\n{"a":[1],"usage":null}\n\n\n',
        b'data: {"a":1 ,"usage":null}\n\ndata: {"a":1 ,"usage":null}\n\n',
        b'data: {"a":[1],"usage":null}\n\ndata: {"a":[1]}\n\n',
        b'data: {"a":[1],"usage":null}\n\ndata: {"a":"1","usage":null}\n\n',
    ],
)
def test_events_that_are_documents_only_together_are_not_usual(raw: bytes) -> None:
    """The proof for several events is one for each of them."""
    assert strip_nulls(raw, raw.find(b'"usage"')) is None


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"a":1 ,"usage":null}\n\n',
        b'data: {"a":1,"x":{"a":1,"usage":null},"usage":null}\n\n',
        b'data: {"x":{"a":1,"usage":null}}\n\n',
        b'data: {"a":1,"usage":null}]\n\n',
        b'data: {"a":1,"usage":nullx}\n\n',
        b'data: {"\xff":1,"usage":null}\n\n',
        b'data: {"us\\u0061ge":{},"x":{"a":1,"usage":null}}\n\n',
    ],
)
def test_an_event_that_is_nearly_usual_is_not(raw: bytes) -> None:
    """It is left to the long way."""
    assert strip_null(raw, raw.find(b'"usage"')) is None
