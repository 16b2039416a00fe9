"""Replies as real upstreams send them, and what should be read from them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.tap import Tap, UsagePlan
from metering.usage import Grade

JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"


def tap(
    plan: UsagePlan | None = None,
    content_type: bytes = SSE,
    encoding: bytes = b"",
    *,
    injected: bool = False,
    path: str = "/v1/chat/completions",
) -> Tap:
    """A tap on one reply."""
    plan = UsagePlan() if plan is None else plan
    return Tap(
        plan, path=path, content_type=content_type, content_encoding=encoding, injected=injected
    )


def run(watch: Tap, chunks: list[bytes], *, complete: bool = True) -> bytes:
    """What the client gets of a reply in these chunks."""
    return b"".join([watch.feed(chunk) for chunk in chunks]) + watch.finish(complete=complete)


def values(watch: Tap) -> dict[str, int]:
    """The quantities, all of which must be exact."""
    quantities = watch.quantities()
    assert all(quantity.grade is Grade.EXACT for quantity in quantities.values()), quantities
    return {meter: quantity.value for meter, quantity in quantities.items()}


def sse(*documents: object, named: bool = False) -> bytes:
    """A stream of these documents, with event names where the API has them."""
    out = b""
    for document in documents:
        text = document if isinstance(document, str) else json.dumps(document)
        name = f"event: {document['type']}\n" if named and isinstance(document, dict) else ""
        out += f"{name}data: {text}\n\n".encode()
    return out


def delta(content: str, finish: str | None = None) -> dict[str, object]:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


CHAT_USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
CHAT = {
    "tokens_in": 19,
    "tokens_out": 10,
    "tokens_total": 29,
    "tokens_cached": 4,
    "tokens_reasoning": 3,
}
RESPONSES_USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 123,
}
RESPONSES = {
    "tokens_in": 36,
    "tokens_out": 87,
    "tokens_total": 123,
    "tokens_cached": 16,
    "tokens_reasoning": 64,
}
MESSAGE_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 100,
    "output_tokens": 1,
}
MESSAGE_START = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "content": [], "usage": MESSAGE_USAGE},
}
MESSAGE_DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 15},
}
MESSAGES = {"tokens_in": 115, "tokens_out": 15, "tokens_total": 130, "tokens_cached": 100}

CHAT_STREAM = sse(delta("Hel"), delta("lo", "stop"), {"choices": [], "usage": CHAT_USAGE}, "[DONE]")
RESPONSES_STREAM = sse(
    {"type": "response.created", "response": {"id": "r", "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Hi, usage"},
    {"type": "response.completed", "response": {"id": "r", "usage": RESPONSES_USAGE}},
    named=True,
)
MESSAGES_STREAM = sse(
    MESSAGE_START,
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    MESSAGE_DELTA,
    {"type": "message_stop"},
    named=True,
)
VLLM_STREAM = sse(
    {**delta("Hi"), "usage": {"prompt_tokens": 19, "completion_tokens": 1, "total_tokens": 20}},
    {**delta("", "stop"), "usage": CHAT_USAGE},
    "[DONE]",
)

GEMINI_CHUNKS = [
    {
        "candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
        "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
    },
    {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 5,
            "totalTokenCount": 15,
        },
    },
]
GEMINI = {"tokens_in": 8, "tokens_out": 7, "tokens_total": 15, "tokens_reasoning": 5}
DASHSCOPE_STREAM = b"".join(
    b'id:%d\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"finish_reason":"%b"},'
    b'"usage":{"input_tokens":3,"output_tokens":%d,"image_count":1}}\n\n' % said
    for said in ((1, b"null", 2), (2, b"stop", 4))
)
DASHSCOPE = {"tokens_in": 3, "tokens_out": 4, "tokens_total": 7, "images": 1}
COHERE_UNITS = {
    "billed_units": {"input_tokens": 5, "output_tokens": 9},
    "tokens": {"input_tokens": 71, "output_tokens": 9},
}
COHERE = {"tokens_in": 5, "tokens_out": 9, "tokens_total": 14}
COHERE_STREAM = sse(
    {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_UNITS}},
    named=True,
)
OLLAMA_COUNTS = {"prompt_eval_count": 26, "eval_count": 98, "eval_duration": 3}
OLLAMA = {"tokens_in": 26, "tokens_out": 98, "tokens_total": 124}


def lines(*documents: object) -> bytes:
    """Documents, a line each."""
    return b"".join([json.dumps(document).encode() + b"\n" for document in documents])


NDJSON = b"application/x-ndjson"
LINES = {
    "ollama": (
        lines({"response": "Hi", "done": False}, {"response": "", "done": True, **OLLAMA_COUNTS}),
        OLLAMA,
    ),
    "old cohere": (
        lines(
            {"event_type": "text-generation", "text": "Hi"},
            {
                "is_finished": True,
                "event_type": "stream-end",
                "response": {"text": "Hi", "meta": COHERE_UNITS},
            },
        ),
        COHERE,
    ),
    "chat": (lines(delta("Hi"), {"choices": [], "usage": CHAT_USAGE}), CHAT),
}

STREAMS = {
    "gemini": (sse(*GEMINI_CHUNKS), GEMINI),
    "dashscope": (DASHSCOPE_STREAM, DASHSCOPE),
    "cohere": (COHERE_STREAM, COHERE),
    "chat": (CHAT_STREAM, CHAT),
    "responses": (RESPONSES_STREAM, RESPONSES),
    "messages": (MESSAGES_STREAM, MESSAGES),
    "usage with content": (VLLM_STREAM, CHAT),
    "carriage returns": (CHAT_STREAM.replace(b"\n", b"\r\n"), CHAT),
    "only carriage returns": (CHAT_STREAM.replace(b"\n", b"\r"), CHAT),
    "no space": (CHAT_STREAM.replace(b"data: ", b"data:"), CHAT),
    "comments": (b": keep-alive\n\n" + CHAT_STREAM.replace(b"data:", b":\ndata:"), CHAT),
    "no end": (CHAT_STREAM.removesuffix(b"\n\ndata: [DONE]\n\n"), CHAT),
}

BODIES = {
    "chat": ({"id": "c", "choices": [{}], "usage": CHAT_USAGE}, CHAT),
    "responses": ({"id": "r", "object": "response", "usage": RESPONSES_USAGE}, RESPONSES),
    "messages": (
        {"type": "message", "usage": {**MESSAGE_USAGE, "output_tokens": 15}},
        MESSAGES,
    ),
    "gemini": (GEMINI_CHUNKS[1], GEMINI),
    "gemini's list": (GEMINI_CHUNKS, GEMINI),
    "dashscope": (
        {"output": {}, "usage": {"input_tokens": 3, "output_tokens": 4, "image_count": 1}},
        DASHSCOPE,
    ),
    "koogallery": (
        {
            "data": {},
            "usage": {**CHAT_USAGE, "image_count": 2, "video_duration": 5},
            "transcripts": {"content_duration_in_milliseconds": 3720},
        },
        {**CHAT, "images": 2, "video_ms": 5000, "audio_ms": 3720},
    ),
    "cohere": ({"id": "c", "usage": COHERE_UNITS}, COHERE),
    "old cohere": ({"text": "Hi", "meta": COHERE_UNITS}, COHERE),
    "ollama": ({"response": "Hi", "done": True, **OLLAMA_COUNTS}, OLLAMA),
    "mistral": (
        {
            "choices": [{}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 6, "prompt_audio_seconds": 203},
        },
        {"tokens_in": 4, "tokens_out": 6, "tokens_total": 10, "audio_ms": 203_000},
    ),
    "embeddings": (
        {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        {"tokens_in": 8, "tokens_total": 8},
    ),
}


@dataclass(frozen=True)
class Shape:
    """How an OpenAI-like server writes its stream."""

    style: Mapping[str, Any] = field(default_factory=dict)  # json.dumps' keywords
    nulls: bool = True  # with include_usage, every other chunk has "usage": null
    place: int = 9  # of that member
    space: str = " "
    end: str = "\n"
    lead: str = ""
    tail: str = "\n\n"


def openai_like(chunks: list[dict[str, object]], shape: Shape, *, usage: bool) -> bytes:
    """The stream of an OpenAI-like server, with or without include_usage."""
    out = []
    for chunk in chunks:
        items = list(chunk.items())
        if usage and shape.nulls:
            items.insert(shape.place, ("usage", None))
        out.append(dict(items))
    if usage:
        out.append({"id": "c", "choices": [], "usage": CHAT_USAGE})
    begin = f"data:{shape.space}"
    texts = [*(json.dumps(each, **shape.style) for each in out), "[DONE]"]
    events = [begin + text.replace("\n", shape.end + begin) for text in texts]
    return (shape.lead + (shape.end * 2).join(events) + shape.tail).encode()


SHAPES = {
    "openai": Shape(),
    "usage first": Shape(place=0),
    "usage in the middle": Shape({"separators": (" , ", " : ")}, place=1),
    "no nulls": Shape(nulls=False),
    "carriage returns": Shape(end="\r\n", tail="\r\n\r\n"),
    "only carriage returns": Shape(end="\r", tail="\r\r"),
    "comments": Shape(lead=": keep-alive\n\n: ping\nid: 1\n"),
    "multi-line": Shape({"indent": 1}, place=1),
    "multi-line, carriage returns": Shape({"indent": 1}, end="\r\n", tail="\r\n\r\n"),
    "no space": Shape({"separators": (",", ":")}, space=""),
    "no last newline": Shape(tail=""),
}
