"""A stream says its usage once, as KooGallery wants it, in the last event before its end."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import sse
from gateway.bodies import MAX_EVENT
from gateway.normal_stream import NormalStream
from gateway.readings import Readings
from tests.gateway.replies import (
    CHAT_STREAM,
    CHAT_USAGE,
    MESSAGES_STREAM,
    SHAPES,
    STREAMS,
    VLLM_STREAM,
    Shape,
    delta,
    openai_like,
)
from tests.gateway.replies import (
    sse as events,
)

WANTED = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}


def run(chunks: list[bytes]) -> bytes:
    """What the client gets."""
    stream = NormalStream(Readings("auto", {}), [])
    return b"".join([stream.feed(chunk) for chunk in chunks]) + stream.finish()


def documents(stream: bytes) -> list[object]:
    """The data of each event; of the end its text."""
    parser = sse.Parser()
    pieces = [*parser.feed(stream), parser.finish()]
    data = [piece.data for piece in pieces if piece is not None and piece.data is not None]
    return ["[DONE]" if each.strip() == b"[DONE]" else json.loads(each) for each in data]


def said(stream: bytes) -> list[dict[str, int]]:
    """Each usage that stands at the top of an event."""
    usages = [each.get("usage") for each in documents(stream) if isinstance(each, dict)]
    return [usage for usage in usages if isinstance(usage, dict)]


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_every_dialect_says_it_last(stream: bytes, expected: dict[str, int]) -> None:
    """At every split the same bytes; before `[DONE]` where there is one."""
    out = run([stream])
    for cut in range(len(stream) + 1):
        assert run([stream[:cut], stream[cut:]]) == out, cut
    assert run([stream[i : i + 1] for i in range(len(stream))]) == out
    events_out = [each for each in documents(out) if each != "[DONE]"]
    assert isinstance(events_out[-1], dict)
    usage = events_out[-1]["usage"]
    assert usage["prompt_tokens"] == expected["tokens_in"]
    assert usage["completion_tokens"] == expected["tokens_out"]
    assert usage["total_tokens"] == expected["tokens_total"]
    assert documents(out).count("[DONE]") == documents(stream).count("[DONE]")
    if "[DONE]" in documents(stream):
        assert documents(out)[-1] == "[DONE]"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_of_chat_completions_it_is_said_once(shape: Shape) -> None:
    """However the stream is written, and its other events keep what they say."""
    content = [delta("Hel"), delta("lo", "stop")]
    stream = openai_like(content, shape, usage=True)
    out = run([stream])
    assert said(out) == [CHAT_USAGE]
    before = [e for e in documents(stream) if isinstance(e, dict) and e["choices"]]
    after = [e for e in documents(out) if isinstance(e, dict) and e["choices"]]
    assert after == before
    assert {run([stream[:at], stream[at:]]) for at in range(0, len(stream), 7)} == {out}


def test_what_is_right_stays_as_it_is() -> None:
    """Byte for byte."""
    assert run([CHAT_STREAM]) == CHAT_STREAM


def test_running_counts_are_taken_out() -> None:
    """Whoever adds up what each event says would charge them all; the last is named as they were."""
    chunks = [
        {**delta("Hi"), "usage": {"prompt_tokens": 19, "completion_tokens": 1}, "created": 5},
        {**delta("", "stop"), "usage": CHAT_USAGE},
    ]
    out = run([events(*chunks, "[DONE]")])
    *_, last, end = documents(out)
    assert last == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": CHAT_USAGE,
    }
    assert end == "[DONE]"
    assert said(out) == [CHAT_USAGE]
    assert said(run([VLLM_STREAM])) == [CHAT_USAGE]


def test_a_total_that_is_wrong_is_summed() -> None:
    """And what lacks is added, beside what the upstream says of it."""
    usage = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 99, "x": {"y": 1}}
    out = run([events(delta("Hi"), {"id": "c", "choices": [], "usage": usage}, "[DONE]")])
    assert said(out) == [{**usage, "total_tokens": 29}]


def test_others_keep_theirs_where_it_stands() -> None:
    """Anthropic's clients read it in the events themselves; nothing of these changes."""
    out = run([MESSAGES_STREAM])
    assert out.startswith(MESSAGES_STREAM)
    assert json.loads(out.removeprefix(MESSAGES_STREAM).removeprefix(b"data: ")) == {
        "usage": {"prompt_tokens": 115, "completion_tokens": 15, "total_tokens": 130}
    }


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        events(delta("Hi"), "[DONE]"),
        events(delta("Hi"), {"error": {"message": "no"}}),
        b": ping\n\n: ping\n",
        b"data: no json\n\n",
    ],
    ids=repr,
)
def test_without_usage_nothing_is_said(stream: bytes) -> None:
    """It goes on as it came."""
    assert run([stream]) == stream


def test_usage_that_says_nothing_is_handed_on() -> None:
    """An event is held back for its usage, and not lost with it."""
    stream = events(delta("Hi"), {"choices": [], "usage": {}}, "[DONE]")
    assert [e for e in documents(run([stream])) if isinstance(e, dict)][-1]["usage"] == {}


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n: ping", b"\nid: 7"], ids=repr)
def test_an_event_that_was_not_ended_is_not_run_into(end: bytes) -> None:
    """The last blank line may lack; what is said behind it is an event of its own."""
    usage = b'data: {"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}'
    out = run([usage + end])
    assert len(documents(out)) == 2
    assert said(out) == [{"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}]


def test_an_event_too_large_passes_as_it_comes() -> None:
    """And is not read; the stream goes on behind it."""
    large = b'data: {"choices":[],"usage":{"prompt_tokens":1},"x":"' + b"y" * MAX_EVENT + b'"}\n\n'
    out = run([large, CHAT_STREAM])
    assert out == large + CHAT_STREAM


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """A stream of anything, and where it is cut."""
    parts = st.sampled_from(
        [
            *(b"data: ", b"\n\n", b"\n", b"\r", b"\r\n", b": c\n", b"id: 1\n", b"data: [DONE]\n\n"),
            events({"choices": [], "usage": CHAT_USAGE}),
            events({**delta("x"), "usage": CHAT_USAGE}).replace(b"\n", b"\r\n"),
            events({**delta("x"), "usage": CHAT_USAGE}).replace(b"\n", b"\r"),
            events({"choices": 7, "usage": {"prompt_tokens": 1}}),
            b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":2}}\n\n',
            b'event: x\ndata: {"choices":[{}],\nid: 4\ndata: "usage":{"input_tokens":2}}\n\n',
            b"\xef\xbb\xbf",
        ]
    )
    stream = b"".join(draw(st.lists(parts | st.binary(max_size=4), max_size=10)))
    return stream, sorted(draw(st.lists(st.integers(0, len(stream)), max_size=10)))


@settings(deadline=None, max_examples=300)
@given(streams())
def test_any_stream_in_any_pieces(case: tuple[bytes, list[int]]) -> None:
    """Never raises, and does not hang on how it was cut."""
    stream, cuts = case
    out = run([stream])
    edges = [0, *cuts, len(stream)]
    assert run([stream[a:b] for a, b in pairwise(edges)]) == out
    assert run([stream[i : i + 1] for i in range(len(stream))]) == out
