"""The tap reads what real upstreams send, however it arrives, and does not change it."""

import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.amounts import Dialect
from gateway.readings import Path
from gateway.tap import UsagePlan
from metering.usage import Grade, Quantity
from tests.gateway.codings import zstd
from tests.gateway.replies import (
    BODIES,
    CHAT,
    CHAT_STREAM,
    CHAT_USAGE,
    GEMINI_CHUNKS,
    JSON,
    LINES,
    MESSAGE_DELTA,
    MESSAGE_START,
    MESSAGES,
    MESSAGES_STREAM,
    NDJSON,
    RESPONSES,
    RESPONSES_STREAM,
    SSE,
    STREAMS,
    VLLM_STREAM,
    delta,
    run,
    sse,
    tap,
    values,
)


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_streams_are_read_at_every_split(stream: bytes, expected: dict[str, int]) -> None:
    """Wherever a stream is cut in two, or in single bytes, the readings are the same."""
    for cut in range(len(stream) + 1):
        watch = tap()
        assert run(watch, [stream[:cut], stream[cut:]]) == stream
        assert values(watch) == expected, cut
    watch = tap()
    assert run(watch, [stream[i : i + 1] for i in range(len(stream))]) == stream
    assert values(watch) == expected


PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_json_bodies_are_read(body: object, expected: dict[str, int], encoding: bytes) -> None:
    """A JSON reply is read at its end, packed or not, and passes as it came."""
    sent = PACK[encoding](json.dumps(body).encode())
    watch = tap(content_type=JSON, encoding=encoding)
    assert run(watch, [sent[:9], sent[9:]]) == sent
    assert values(watch) == expected


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_packed_streams_are_read(stream: bytes, expected: dict[str, int], encoding: bytes) -> None:
    """A packed stream cannot be stripped, but it is read, and passes as it came."""
    packed = PACK[encoding](stream)
    watch = tap(encoding=encoding, injected=True)
    assert run(watch, [packed[i : i + 7] for i in range(0, len(packed), 7)]) == packed
    assert values(watch) == expected


def test_chunks_pass_at_once_and_uncopied() -> None:
    """Without injection the client gets the very object that came, even inside an event."""
    for watch in (tap(), tap(content_type=JSON), tap(encoding=b"gzip"), tap(content_type=b"")):
        chunk = b'data: {"choices"'
        assert watch.feed(chunk) is chunk
        assert watch.finish(complete=True) == b""


def test_the_last_raw_usage_is_kept_for_audit() -> None:
    """As it stood in the reply."""
    watch = tap()
    run(watch, [MESSAGES_STREAM])
    assert watch.raw == b'{"output_tokens": 15}'


@pytest.mark.parametrize("encoding", [b"", b"gzip"])
@pytest.mark.parametrize(("stream", "expected"), LINES.values(), ids=LINES.keys())
def test_lines_of_json_are_read_at_every_split(
    stream: bytes, expected: dict[str, int], encoding: bytes
) -> None:
    """With or without the last line's end, packed or not."""
    sent = PACK[encoding](stream)
    for cut in range(len(sent) + 1):
        watch = tap(content_type=NDJSON, encoding=encoding)
        assert run(watch, [sent[:cut], sent[cut:]]) == sent
        assert values(watch) == expected, cut
    watch = tap(content_type=b"application/stream+json")
    run(watch, [stream.rstrip()])
    assert values(watch) == expected


def test_a_line_too_long_is_passed_over() -> None:
    """The lines behind it are read."""
    stream = LINES["ollama"][0]
    watch = tap(content_type=NDJSON)
    long = b'{"eval_count":7,"x":"' + b"x" * 9 * 1024 * 1024 + b'"}\n'
    run(watch, [long[:100], long[100:], stream])
    assert values(watch) == LINES["ollama"][1]


@pytest.mark.parametrize("between", [",", "\n,\r\n", "\n,\n"])
def test_a_list_that_is_a_stream(between: str) -> None:
    """Gemini's without `alt=sse`; what came whole of one that was cut is read too."""
    sent = f"[{between.join(map(json.dumps, GEMINI_CHUNKS))}]".encode()
    whole = tap(content_type=JSON)
    run(whole, [sent])
    assert values(whole) == BODIES["gemini"][1]
    for end in (sent.index(b"STOP"), len(sent) - 2, len(sent) - 1):
        cut = tap(content_type=JSON)
        assert run(cut, [sent[:end]], complete=False) == sent[:end]
        if end == len(sent) - 1 or "\n" in between:
            assert cut.quantities()["tokens_in"].value == 8


def test_other_lists_are_no_streams() -> None:
    """Each of a batch's replies has its own usage; the last is not theirs together."""
    watch = tap(content_type=JSON)
    run(watch, [json.dumps([{"usage": CHAT_USAGE}, {"usage": CHAT_USAGE}]).encode()])
    assert watch.quantities() == {}


# Grades


def test_a_cut_stream_is_partial() -> None:
    """What had been reported until the cut counts, and says so."""
    watch = tap(UsagePlan(expected=frozenset({"tokens_in", "tokens_cached", "tokens_reasoning"})))
    run(watch, [sse(MESSAGE_START)], complete=False)
    assert watch.quantities() == {
        "tokens_in": Quantity(115, Grade.PARTIAL),
        "tokens_out": Quantity(1, Grade.PARTIAL),
        "tokens_total": Quantity(116, Grade.PARTIAL),
        "tokens_cached": Quantity(100, Grade.PARTIAL),
        "tokens_reasoning": Quantity(0, Grade.MISSING),
    }


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (CHAT_STREAM.removesuffix(b"data: [DONE]\n\n"), CHAT),
        (VLLM_STREAM, CHAT),
        (RESPONSES_STREAM, RESPONSES),
        (RESPONSES_STREAM.replace(b"completed", b"incomplete"), RESPONSES),
        (RESPONSES_STREAM.replace(b"completed", b"failed"), RESPONSES),
        (sse(MESSAGE_START, MESSAGE_DELTA), MESSAGES),
    ],
    ids=["chat", "done", "completed", "incomplete", "failed", "message_delta"],
)
def test_a_stream_cut_after_its_final_usage_is_exact(
    stream: bytes, expected: dict[str, int]
) -> None:
    """Nothing that could have followed would have changed the count."""
    watch = tap()
    run(watch, [stream], complete=False)
    assert values(watch) == expected


def test_usage_with_content_is_partial_until_the_stream_ends() -> None:
    """A running count may still grow."""
    watch = tap()
    run(watch, [VLLM_STREAM.removesuffix(b"data: [DONE]\n\n")], complete=False)
    assert watch.quantities()["tokens_out"] == Quantity(10, Grade.PARTIAL)


def test_a_placeholder_is_never_exact() -> None:
    """An Anthropic stream that ends without its message_delta was cut, whatever HTTP says."""
    watch = tap()
    run(watch, [sse(MESSAGE_START, {"type": "error", "error": {"type": "overloaded_error"}})])
    assert watch.quantities()["tokens_out"] == Quantity(1, Grade.PARTIAL)


def test_a_truncated_packed_stream_is_partial() -> None:
    """The HTTP framing was whole, the gzip member was not."""
    watch = tap(encoding=b"gzip")
    usage = sse({**delta("Hi"), "usage": CHAT_USAGE})
    run(watch, [gzip.compress(usage)[:-8]])
    assert watch.quantities()["tokens_in"] == Quantity(19, Grade.PARTIAL)


EXPECTED = UsagePlan(expected=frozenset({"tokens_in"}))


UNUSABLE = {
    "empty": (JSON, b"", b""),
    "no json": (JSON, b"", b"<html>not json</html>"),
    "cut json": (JSON, b"", b'{"usage": {"prompt_tokens": 5}'),
    "no count": (JSON, b"", b'{"usage": {"prompt_tokens": true}}'),
    "null": (JSON, b"", b'{"usage": null}'),
    "not gzip": (JSON, b"gzip", b'{"usage": {"prompt_tokens": 5}}'),
    "unknown coding": (JSON, b"compress", b'{"usage": {"prompt_tokens": 5}}'),
    "too large": (JSON, b"", b'{"usage": {"prompt_tokens": 5}}' + b" " * 8 * 1024 * 1024),
    "unpacks too large": (
        JSON,
        b"gzip",
        gzip.compress(b'{"usage": {"prompt_tokens": 5}}' + b" " * 8 * 1024 * 1024),
    ),
    "stream without usage": (SSE, b"", sse(delta("Hi"), "[DONE]")),
    "broken gzip": (SSE, b"gzip", gzip.compress(CHAT_STREAM)[:-8] + b"x" * 8),
    "html": (b"text/html", b"", b'{"usage": {"prompt_tokens": 5}}'),
    "no type": (b"", b"", b'{"usage": {"prompt_tokens": 5}}'),
}


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"), UNUSABLE.values(), ids=UNUSABLE.keys()
)
def test_nothing_usable_where_usage_was_expected(
    content_type: bytes, encoding: bytes, body: bytes
) -> None:
    """It is missing, and it passes untouched."""
    watch = tap(EXPECTED, content_type, encoding)
    assert run(watch, [body[:20], body[20:]]) == body
    assert watch.quantities() == {"tokens_in": Quantity(0, Grade.MISSING)}


def test_a_bomb_is_given_up() -> None:
    """What unpacks to too much is not read to its end, nor believed."""
    stream = CHAT_STREAM + b":" + b"x" * 65 * 1024 * 1024
    watch = tap(EXPECTED, SSE, b"deflate")
    packed = zlib.compress(stream)
    assert run(watch, [packed]) == packed
    assert watch.quantities() == {"tokens_in": Quantity(0, Grade.MISSING)}


def test_nothing_expected_nothing_missing() -> None:
    """A reply without usage on a route that sells none of it has no quantities."""
    watch = tap(content_type=JSON)
    run(watch, [b"{}"])
    assert watch.quantities() == {}


@pytest.mark.parametrize(
    "dialect", ["openai", "anthropic", "gemini", "ollama", "cohere", "mistral"]
)
def test_a_named_dialect_expects_tokens(dialect: Dialect) -> None:
    """Whoever names the API wants to know when a reply has no usage."""
    plan = UsagePlan(dialect=dialect)
    watch = tap(plan, content_type=JSON)
    run(watch, [b"{}"])
    assert set(watch.quantities()) == {"tokens_in", "tokens_out", "tokens_total"}
    assert tap(UsagePlan(dialect="dashscope"), content_type=JSON).quantities() == {}
    image = tap(plan, content_type=b"image/png")
    run(image, [b"\x89PNG"])
    assert image.quantities() == {}


@pytest.mark.parametrize(
    ("path", "usage", "output"),
    [
        ("/v1/embeddings", {"prompt_tokens": 8}, Quantity(0)),
        ("/v1/embeddings?x=1", {"prompt_tokens": 8, "total_tokens": 9}, Quantity(0)),
        ("/api/embed", {"prompt_tokens": 8}, Quantity(0)),
        ("/v1/vectors", {"prompt_tokens": 8, "total_tokens": 8}, Quantity(0)),
        ("/v1/vectors", {"prompt_tokens": 8, "total_tokens": 9}, Quantity(0, Grade.MISSING)),
        ("/v1/chat/completions", {"prompt_tokens": 8}, Quantity(0, Grade.MISSING)),
        ("/v1/embeddings", {"total_tokens": 8}, Quantity(0, Grade.MISSING)),
    ],
)
def test_an_embedding_has_no_output(path: str, usage: object, output: Quantity) -> None:
    """Where output is sold, an embedding's is zero and not missing."""
    watch = tap(UsagePlan(expected=frozenset({"tokens_out"})), JSON, path=path)
    run(watch, [json.dumps({"usage": usage}).encode()])
    assert watch.quantities()["tokens_out"] == output


def test_dialect_none_reads_nothing() -> None:
    """Not even custom paths; what is sold all the same is missing."""
    plan = UsagePlan(
        dialect="none", paths={"pages": Path(("usage", "pages"))}, expected=EXPECTED.expected
    )
    watch = tap(plan, content_type=JSON)
    run(watch, [b'{"usage":{"prompt_tokens":5,"pages":3}}'])
    assert watch.quantities() == {"tokens_in": Quantity(0, Grade.MISSING)}
    assert watch.raw == b""


def test_custom_meters() -> None:
    """A path is read from JSON bodies and from events."""
    plan = UsagePlan(paths={"pages": Path(("job", "pages"))}, expected=frozenset({"pages"}))
    body = tap(plan, content_type=JSON)
    run(body, [b'{"job":{"pages":12}}'])
    assert values(body) == {"pages": 12}
    stream = tap(plan)
    run(stream, [sse({"job": {"pages": 1}}, delta("x"), {"job": {"pages": 2}}, "[DONE]")])
    assert values(stream) == {"pages": 2}


# Any bytes


def chunks_of(parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Lists of chunks."""
    return st.lists(parts, max_size=25)


fragments = st.binary(max_size=6) | st.sampled_from(
    [
        *(b"data: ", b"\n\n", b"\n", b"\r", b"\r\n", b": c", b"event: message_stop\n", b"[DONE]"),
        *(b'"usage"', b'{"usage":', b'{"prompt_tokens":3}', b"null", b"}", b'"choices":[],', b"{"),
        sse({"choices": [], "usage": CHAT_USAGE}),
        sse({**delta("x"), "usage": None}),
        sse(MESSAGE_START),
        gzip.compress(CHAT_STREAM),
        *(b'"usageMetadata"', b'{"eval_count":3,"done":true}\n', b"[", b"\n,", b"]"),
        *(json.dumps(chunk).encode() for chunk in GEMINI_CHUNKS),
        *(brotli.compress(CHAT_STREAM), zstd.compress(CHAT_STREAM)),
    ]
)


@settings(deadline=None)
@given(
    chunks_of(fragments),
    st.sampled_from([JSON, SSE, NDJSON, b"text/plain"]),
    st.sampled_from([b"", b"gzip", b"deflate", b"br", b"zstd", b"compress"]),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes_pass_and_are_read_alike(
    chunks: list[bytes], content_type: bytes, encoding: bytes, injected: bool, complete: bool
) -> None:
    """Nothing an upstream sends raises or changes; readings do not hang on how it was cut."""
    sent = b"".join(chunks)

    def outcome(pieces: list[bytes]) -> tuple[bytes, object, bytes]:
        watch = tap(EXPECTED, content_type, encoding, injected=injected)
        out = run(watch, pieces, complete=complete)
        return out, watch.quantities(), watch.raw

    whole = outcome([sent])
    assert outcome(chunks) == whole
    assert outcome([sent[i : i + 1] for i in range(len(sent))]) == whole
    if not injected or b'"usage"' not in sent:
        assert whole[0] == sent


# What is counted in the request


def test_what_the_reply_says_counts_before_what_was_counted() -> None:
    """But not in KooGallery's own table: there the gateway counts."""
    asked = {"characters": Quantity(5), "input_bytes": Quantity(9)}
    body = b'{"usage":{"characters":12}}'
    said: dict[Dialect, int] = {"auto": 12, "dashscope": 12, "koogallery": 5}
    for dialect, characters in said.items():
        plan = UsagePlan(dialect=dialect, expected=frozenset({"characters", "images"}))
        watch = tap(plan, content_type=JSON)
        run(watch, [body])
        assert watch.quantities(asked) == {
            "characters": Quantity(characters),
            "input_bytes": Quantity(9),
            "images": Quantity(0, Grade.MISSING),
        }


def test_what_is_expected_and_not_in_the_request_is_missing() -> None:
    """Also where the reply is none that is read."""
    watch = tap(UsagePlan(expected=frozenset({"characters"})), content_type=b"audio/mpeg")
    run(watch, [b"ID3"])
    assert watch.quantities() == {"characters": Quantity(0, Grade.MISSING)}
    assert watch.quantities({"characters": Quantity(5)}) == {"characters": Quantity(5)}
