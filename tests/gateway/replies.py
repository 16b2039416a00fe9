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

STREAMS = {
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
