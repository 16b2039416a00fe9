"""Anthropic messages, as JSON and as the events of a stream. Pure."""

from functools import lru_cache
from typing import Any

from tallygate.demo.asked import Asked
from tallygate.demo.wire import WORD, json_bytes, named_event


def _message(asked: Asked, content: list[Any], stop: str | None, out: int) -> dict[str, object]:
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": asked.tokens_in,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": out,
        },
    }


@lru_cache(maxsize=64)
def message_body(asked: Asked) -> tuple[bytes, ...]:
    """A message."""
    content = [{"type": "text", "text": WORD * asked.tokens_out}]
    return (json_bytes(_message(asked, content, "end_turn", asked.tokens_out)),)


@lru_cache(maxsize=64)
def message_events(asked: Asked) -> tuple[bytes, ...]:
    """The events of a message: its input tokens come first, its output tokens last."""
    begun = _message(asked, [], None, min(1, asked.tokens_out))
    token = {"type": "text_delta", "text": WORD}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *[{"type": "content_block_delta", "index": 0, "delta": token}] * asked.tokens_out,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": asked.tokens_out}},
        {"type": "message_stop"},
    ]
    return tuple(named_event(event) for event in events)
