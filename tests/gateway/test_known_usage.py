"""Usage written as the known APIs write it is read in one step, and as the patient reader reads it."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import dialects, known_usage, usage_fields
from gateway.tap import Tap, UsagePlan, read_usual
from metering.quantities import kind_of
from metering.usage import Grade
from tests.gateway.test_usage_fields import CHAT, MESSAGES, RESPONSES

KEYS = st.sampled_from(
    [
        *("usage", "message", "response", "choices", "type", "delta", "stop_reason", "x", "é"),
        *(*CHAT, *RESPONSES, *MESSAGES, "input_token_details", "output_token_details"),
        *("cached_tokens", "reasoning_tokens", "image_count", "video_duration", "duration"),
        *("seconds", "prompt_audio_seconds", "characters", "billed_units", "tokens", "models"),
        *("output", "finish_reason", "candidates", "finishReason", "usageMetadata", "meta", "done"),
        *("promptTokenCount", "eval_count", "is_finished", "transcripts"),
        "content_duration_in_milliseconds",
    ]
)
SCALARS = st.sampled_from(
    [
        *("0", "7", "-1", "7.0", "1.5", "1e2", "-0.0", "1e999", str(10**15), str(10**15 + 1)),
        *(str(2**63), str(10**40), "null", "true", "[]", "[ ]", "[1]", "{}", '"7"', '""', "x"),
        *('"stop"', '"message-end"', '[{"finish_reason": "stop"}]', '[{"finishReason": "STOP"}]'),
        *('"message_start"', '"message_delta"', '"message_stop"', '"response.completed"'),
    ]
)


def _object(members: list[tuple[str, str]]) -> str:
    """A JSON object as text, its keys as often as they come."""
    return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {v}" for k, v in members) + "}"


VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(st.tuples(KEYS, inner), max_size=6).map(_object), max_leaves=12
)
COUNTS = st.lists(st.tuples(KEYS, SCALARS | st.integers(0, 99).map(str)), max_size=6).map(_object)
USAGES = st.lists(st.tuples(KEYS, SCALARS | COUNTS), max_size=8).map(_object)
DOCUMENTS = st.lists(
    st.tuples(KEYS, VALUES) | st.tuples(st.just("usage"), USAGES), min_size=1, max_size=5
).map(_object)


def patiently(document: bytes) -> tuple[dict[str, int], bool | None]:
    """What a document states, and what it says of its end, read member by member."""
    decoded = dialects.decode(document)
    assert decoded is not None
    stated: dict[str, int] = {}
    for fields, _ in dialects.stated(decoded, "auto"):
        stated |= fields
    return stated, dialects.final(decoded, reported=bool(stated))


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS.map(str.encode), st.integers(0, 200), st.binary(max_size=2))
def test_what_is_read_quickly_is_read_alike(document: bytes, at: int, noise: bytes) -> None:
    """Keys twice, floats, huge numbers, nulls, foreign members, bytes that are no text."""
    for each in (document, document[:at] + noise + document[at:]):
        quick = known_usage.known(each)
        if quick is not None:
            assert (quick[0].stated(), quick[1]) == patiently(each)


@pytest.mark.parametrize(
    "usage", [CHAT, RESPONSES, MESSAGES], ids=["chat", "responses", "messages"]
)
def test_the_usual_replies_are_read_quickly(usage: object) -> None:
    """And a reply that is written in another way is left to the patient reader."""
    found = known_usage.known(json.dumps({"id": "x", "choices": [{}], "usage": usage}).encode())
    assert found is not None
    assert (found[0].stated(), found[1]) == (
        usage_fields.of_usage(msgspec.Raw(json.dumps(usage).encode()), "auto"),
        None,
    )
    for other in (
        {"usage": None},
        {"usage": usage, "message": {}},
        {"usage": {"prompt_tokens": 7.0}},
    ):
        assert known_usage.known(json.dumps(other).encode()) is None


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS.map(str.encode), st.integers(0, 200), st.binary(max_size=2))
def test_a_whole_reply_in_one_step_is_what_a_tap_reads(
    document: bytes, at: int, noise: bytes
) -> None:
    """Where it can be read in one step at all."""
    for plan in (UsagePlan(), UsagePlan("openai"), UsagePlan(expected=frozenset({"tokens_out"}))):
        for body in (document, document[:at] + noise + document[at:]):
            quick = read_usual(plan, b"application/json", b"", body, bytes_in=7)
            if quick is not None:
                tap = Tap(
                    plan,
                    path="/v1/chat/completions",
                    content_type=b"application/json",
                    content_encoding=b"",
                    injected=False,
                )
                assert tap.feed(body) == body
                tap.finish(complete=True)
                counted = kind_of(("requests", "bytes_in", "bytes_out"), (Grade.EXACT,) * 3)
                assert quick == tap.quantities().behind(counted, (1, 7, len(body)))


def test_a_chat_completion_is_read_in_one_step() -> None:
    """With and without details, in any script; what is expected besides is not."""
    body = b""
    usage: dict[str, object] = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    for text in ("hello", "你好"):
        for details in ({}, {"prompt_tokens_details": {"cached_tokens": 2}}):
            reply = {"choices": [{"message": {"content": text}}], "usage": usage | details}
            body = json.dumps(reply, ensure_ascii=False).encode()
            read = read_usual(UsagePlan(), b"application/json", b"", body, bytes_in=7)
            assert read is not None
            assert read["tokens_total"].value == 7
    pages = UsagePlan(expected=frozenset({"pages"}))
    assert read_usual(pages, b"application/json", b"", body, bytes_in=7) is None
    assert read_usual(UsagePlan(), b"application/json", b"gzip", body, bytes_in=7) is None
    assert read_usual(UsagePlan(), b"text/event-stream", b"", body, bytes_in=7) is None
