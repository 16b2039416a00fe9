"""OpenAI responses, as JSON and as the events of a stream. Pure."""

from functools import lru_cache

from tallygate.demo.asked import Asked
from tallygate.demo.wire import CREATED, WORD, json_bytes, named_event


def _response(asked: Asked, status: str) -> dict[str, object]:
    done = status == "completed"
    usage = {
        "input_tokens": asked.tokens_in,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": asked.tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked.tokens_in + asked.tokens_out,
    }
    return {
        "id": "resp_stub",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": asked.model,
        "output": [_message("completed", WORD * asked.tokens_out)] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if done else None,
    }


def _message(status: str, text: str | None) -> dict[str, object]:
    content = [] if text is None else [_part(text)]
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": []}


@lru_cache(maxsize=64)
def response_body(asked: Asked) -> tuple[bytes, ...]:
    """A completed response."""
    return (json_bytes(_response(asked, "completed")),)


@lru_cache(maxsize=64)
def response_events(asked: Asked) -> tuple[bytes, ...]:
    """The events of a response with one text."""
    text = WORD * asked.tokens_out
    item: dict[str, object] = {"item_id": "msg_stub", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", **item, "delta": WORD, "logprobs": []}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": _response(asked, "in_progress")},
        {"type": "response.in_progress", "response": _response(asked, "in_progress")},
        _output_item("added", _message("in_progress", None)),
        {"type": "response.content_part.added", **item, "part": _part("")},
        *[delta] * asked.tokens_out,
        {"type": "response.output_text.done", **item, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **item, "part": _part(text)},
        _output_item("done", _message("completed", text)),
        {"type": "response.completed", "response": _response(asked, "completed")},
    ]
    return tuple(named_event({**event, "sequence_number": n}) for n, event in enumerate(events))


def _output_item(what: str, message: dict[str, object]) -> dict[str, object]:
    return {"type": f"response.output_item.{what}", "output_index": 0, "item": message}
