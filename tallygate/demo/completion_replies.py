"""OpenAI chat completions, completions and embeddings, as JSON and as chunks. Pure."""

import base64
import struct
from functools import lru_cache
from typing import Any, Final

from tallygate.demo.asked import Asked
from tallygate.demo.wire import CREATED, DONE, WORD, data_event, json_bytes

_VECTOR: Final = tuple(step / 8 for step in range(8))


def _openai_usage(asked: Asked) -> dict[str, object]:
    return {
        "prompt_tokens": asked.tokens_in,
        "completion_tokens": asked.tokens_out,
        "total_tokens": asked.tokens_in + asked.tokens_out,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _completion(kind: str, asked: Asked, choices: list[Any], **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-stub" if kind.startswith("chat") else "cmpl-stub",
        "object": kind,
        "created": CREATED,
        "model": asked.model,
        "choices": choices,
        **more,
    }


def _choice(finish: str | None, **content: object) -> list[dict[str, object]]:
    return [{"index": 0, **content, "logprobs": None, "finish_reason": finish}]


@lru_cache(maxsize=64)
def chat_body(asked: Asked) -> tuple[bytes, ...]:
    """A chat completion."""
    message = {"role": "assistant", "content": WORD * asked.tokens_out, "refusal": None}
    choices = _choice("stop", message=message)
    return (json_bytes(_completion("chat.completion", asked, choices, usage=_openai_usage(asked))),)


@lru_cache(maxsize=64)
def chat_events(asked: Asked) -> tuple[bytes, ...]:
    """The chunks of a chat completion."""
    first = _choice(None, delta={"role": "assistant", "content": ""})
    token = _choice(None, delta={"content": WORD})
    last = _choice("stop", delta={})
    return _chunks("chat.completion.chunk", asked, [first, *[token] * asked.tokens_out, last])


@lru_cache(maxsize=64)
def text_body(asked: Asked) -> tuple[bytes, ...]:
    """A completion."""
    choices = _choice("stop", text=WORD * asked.tokens_out)
    return (json_bytes(_completion("text_completion", asked, choices, usage=_openai_usage(asked))),)


@lru_cache(maxsize=64)
def text_events(asked: Asked) -> tuple[bytes, ...]:
    """The chunks of a completion."""
    token, last = _choice(None, text=WORD), _choice("stop", text="")
    return _chunks("text_completion", asked, [*[token] * asked.tokens_out, last])


def _chunks(kind: str, asked: Asked, deltas: list[Any]) -> tuple[bytes, ...]:
    """With include_usage every chunk says `"usage":null` and one more, without choices, says it all.

    https://platform.openai.com/docs/api-reference/chat/create, `stream_options`.
    """
    if not asked.include_usage:
        return (*(data_event(_completion(kind, asked, delta)) for delta in deltas), DONE)
    chunks = (data_event(_completion(kind, asked, delta, usage=None)) for delta in deltas)
    return (*chunks, data_event(_completion(kind, asked, [], usage=_openai_usage(asked))), DONE)


@lru_cache(maxsize=64)
def embeddings_body(asked: Asked) -> tuple[bytes, ...]:
    """One vector for each input; they are all alike."""
    packed = base64.b64encode(struct.pack(f"<{len(_VECTOR)}f", *_VECTOR)).decode()
    vector = packed if asked.base64 else _VECTOR
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": vector} for n in range(asked.inputs)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": asked.tokens_in, "total_tokens": asked.tokens_in},
    }
    return (json_bytes(body),)
