"""Where usage stands in a reply, and which replies say that it is final."""

import json

import pytest

from gateway import dialects
from tests.gateway.test_usage_fields import CHAT, MESSAGES, RESPONSES


def reply(document: object) -> dialects.Reply:
    """A document, decoded."""
    decoded = dialects.decode(json.dumps(document).encode())
    assert decoded is not None
    return decoded


@pytest.mark.parametrize(
    "document",
    [
        {"usage": CHAT},
        {"message": {"usage": CHAT}},
        {"response": {"usage": CHAT}, "usage": None},
    ],
    ids=["top", "message", "response"],
)
def test_usage_is_found_where_it_stands(document: object) -> None:
    """Usage is read at the top, in `message` and in `response`."""
    found = [fields for fields, _ in dialects.stated(reply(document), "auto")]
    assert [fields["prompt_tokens"] for fields in found] == [19]


@pytest.mark.parametrize(
    "document",
    [{}, {"usage": None}, {"usage": "see docs"}, {"message": "hi", "response": ["usage"]}],
    ids=repr,
)
def test_no_usage(document: object) -> None:
    """Null, texts and lists are no usage."""
    assert list(dialects.stated(reply(document), "auto")) == []


DASHSCOPE = {"input_tokens": 3, "output_tokens": 4}
GEMINI = {"promptTokenCount": 3, "totalTokenCount": 7}
COHERE = {"billed_units": {"input_tokens": 3, "output_tokens": 4}}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"usageMetadata": GEMINI}, ["promptTokenCount", "totalTokenCount"]),
        ({"response": {"usageMetadata": GEMINI}}, ["promptTokenCount", "totalTokenCount"]),
        ({"usage": COHERE}, ["billed_units.input_tokens", "billed_units.output_tokens"]),
        ({"meta": COHERE}, ["billed_units.input_tokens", "billed_units.output_tokens"]),
        ({"delta": {"usage": COHERE}}, ["billed_units.input_tokens", "billed_units.output_tokens"]),
        ({"prompt_eval_count": 3, "eval_count": 4}, ["prompt_eval_count", "eval_count"]),
        ({"transcripts": [{"content_duration_in_milliseconds": 5}]}, ["audio_ms"]),
        ({"usage": DASHSCOPE, "eval_count": 9}, ["input_tokens", "output_tokens"]),
    ],
    ids=str,
)
def test_other_apis_have_it_elsewhere(document: object, names: list[str]) -> None:
    """And a `usage` object counts before what stands elsewhere."""
    found = [name for fields, _ in dialects.stated(reply(document), "auto") for name in fields]
    assert found == names


def test_what_was_read_is_kept_as_it_stood() -> None:
    """Of Ollama, which has no object for it, the counts alone."""
    kept = [bytes(raw) for _, raw in dialects.stated(reply({"usageMetadata": GEMINI}), "auto")]
    assert kept == [json.dumps(GEMINI).encode()]
    counts = {"model": "m", "prompt_eval_count": 3, "eval_count": 4}
    kept = [bytes(raw) for _, raw in dialects.stated(reply(counts), "auto")]
    assert kept == [b'{"prompt_eval_count":3,"eval_count":4}']


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"choices": [], "usage": CHAT}, True),
        ({"choices": [{"index": 0}], "usage": CHAT}, None),
        ({"type": "message_start", "message": {"usage": MESSAGES}}, False),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": MESSAGES}, True),
        ({"type": "message_delta", "delta": {"stop_reason": None}, "usage": MESSAGES}, None),
        ({"type": "response.completed", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.incomplete", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.failed", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.in_progress", "response": {"usage": RESPONSES}}, None),
        ({"type": 7, "choices": "none"}, None),
        ({"type": "message-end", "delta": {"usage": COHERE}}, True),
        ({"is_finished": True, "response": {"meta": COHERE}}, True),
        ({"is_finished": False, "meta": COHERE}, None),
        ({"usageMetadata": GEMINI, "candidates": [{"finishReason": "STOP"}]}, True),
        ({"usageMetadata": GEMINI, "candidates": [{"content": {}}]}, None),
        ({"usageMetadata": GEMINI, "candidates": "finishReason"}, None),
        ({"eval_count": 3, "done": True}, True),
        ({"eval_count": 3, "done": False}, None),
    ],
    ids=str,
)
def test_events_that_end_the_usage(document: object, expected: bool | None) -> None:
    """A stream says itself whether the usage seen so far is final."""
    decoded = reply(document)
    assert (
        dialects.final(decoded, reported=bool(list(dialects.stated(decoded, "auto")))) is expected
    )


def test_an_end_without_usage_is_no_end() -> None:
    """Only message_stop ends by its name alone."""
    assert dialects.final(reply({"choices": []}), reported=False) is None
    assert dialects.final(reply({"type": "response.failed"}), reported=False) is None
    assert dialects.final(reply({"type": "message_stop"}), reported=False) is True
