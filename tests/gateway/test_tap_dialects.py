"""Whatever a reply of any dialect says, and however it comes, it is read alike."""

import gzip
import json
from collections.abc import Callable
from itertools import pairwise

import brotli
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.amounts import Dialect
from gateway.readings import Path
from gateway.tap import UsagePlan
from metering.usage import MAX_QUANTITY, Grade
from tests.gateway.codings import zstd
from tests.gateway.replies import (
    BODIES,
    CHAT_USAGE,
    COHERE_UNITS,
    GEMINI_CHUNKS,
    JSON,
    MESSAGE_DELTA,
    MESSAGE_START,
    NDJSON,
    OLLAMA_COUNTS,
    RESPONSES_USAGE,
    SSE,
    delta,
    lines,
    run,
    sse,
    tap,
)

DIALECTS: list[Dialect] = ["auto", "openai", "dashscope", "cohere", "koogallery", "none"]
PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"br": brotli.compress,
    b"zstd": zstd.compress,
}
NUMBERS: st.SearchStrategy[object] = st.sampled_from(
    [0, 1, 7, -1, 2.5, 10**15, 10**16, 1e300, "7", None, True, [], {}]
)
NAMES = st.sampled_from(
    [
        *CHAT_USAGE,
        *RESPONSES_USAGE,
        *OLLAMA_COUNTS,
        *("image_count", "video_duration", "video_count", "duration", "seconds", "characters"),
        *("promptTokenCount", "thoughtsTokenCount", "candidatesTokenCount", "totalTokenCount"),
    ]
)
USAGES = st.dictionaries(NAMES, NUMBERS, max_size=5)
DOCUMENTS = st.one_of(
    st.sampled_from([document for document, _ in BODIES.values()]),
    st.sampled_from([*GEMINI_CHUNKS, MESSAGE_START, MESSAGE_DELTA, delta("Hi"), {"type": "ping"}]),
    st.dictionaries(
        st.sampled_from(
            ["usage", "usageMetadata", "meta", "response", "delta", "transcripts", "x"]
        ),
        USAGES | st.fixed_dictionaries({"usage": USAGES}) | st.just(COHERE_UNITS),
        max_size=3,
    ),
    st.builds(lambda usage: {"choices": [], "usage": usage}, USAGES),
    st.builds(lambda usage: {**delta("x"), "usage": usage}, USAGES),
    USAGES,
)


def framed(documents: list[object], content_type: bytes) -> bytes:
    """These documents as replies of that type hold them."""
    if content_type == SSE:
        return sse(*documents, "[DONE]")
    if content_type == NDJSON:
        return lines(*documents)
    return json.dumps(documents[0] if len(documents) == 1 else documents).encode()


@settings(deadline=None, max_examples=150)
@given(
    st.lists(DOCUMENTS, min_size=1, max_size=4),
    st.sampled_from([JSON, SSE, NDJSON]),
    st.sampled_from(list(PACK)),
    st.sampled_from(DIALECTS),
    st.booleans(),
    st.lists(st.floats(0, 1), max_size=8),
)
def test_any_split_of_the_bytes_gives_the_same_usage(
    documents: list[object],
    content_type: bytes,
    encoding: bytes,
    dialect: Dialect,
    normalize: bool,
    cuts: list[float],
) -> None:
    """Nothing raises, nothing is unbelievable, and packing changes nothing of it."""
    plan = UsagePlan(
        dialect, {"mine": Path(("usage", "seconds"), 1000)}, normalize=normalize and not encoding
    )
    plain = framed(documents, content_type)
    sent = PACK[encoding](plain)

    def outcome(pieces: list[bytes], coding: bytes = encoding) -> tuple[bytes, object, bytes]:
        watch = tap(plan, content_type, coding)
        return run(watch, pieces), watch.quantities(), watch.raw

    whole = outcome([sent])
    edges = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
    assert outcome([sent[a:b] for a, b in pairwise(edges)]) == whole
    assert outcome([sent[i : i + 1] for i in range(len(sent))]) == whole
    if encoding:
        assert outcome([plain], b"")[1:] == whole[1:]
    watch = tap(plan, content_type, encoding)
    run(watch, [sent], complete=False)
    for quantity in watch.quantities().values():
        assert 0 <= quantity.value <= MAX_QUANTITY
        assert quantity.grade is not Grade.MISSING or quantity.value == 0


@settings(deadline=None, max_examples=150)
@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.sampled_from([JSON, SSE]))
def test_what_is_said_normally_says_the_same(documents: list[object], content_type: bytes) -> None:
    """Whoever reads a changed reply reads the tokens that the gateway counted, and no others."""
    plan = UsagePlan(normalize=True)
    watch = tap(plan, content_type)
    changed = run(watch, [framed(documents, content_type)])
    again = tap(plan, content_type)
    assert run(again, [changed]) == changed
    counted = {meter: q.value for meter, q in watch.quantities().items()}
    read = {meter: q.value for meter, q in again.quantities().items()}
    tokens = ("tokens_in", "tokens_out", "tokens_total")
    both = {meter: counted[meter] for meter in tokens if meter in counted}
    assert {meter: read.get(meter) for meter in both} == both
