"""What the usage of the known APIs says: where it stands in a reply, its wire fields, their meters.

Convention, after OpenTelemetry's GenAI semantic conventions ("gen_ai.usage.input_tokens SHOULD
include all types of input tokens, including cached tokens"): `tokens_in` includes the cached tokens.
OpenAI's counts do already; Anthropic's `input_tokens` leaves out what was read from or written to
the cache, so it is added. `tokens_cached` and `tokens_reasoning` are parts, never added again. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from gateway import lenient
from metering.usage import MAX_QUANTITY

Dialect = Literal["auto", "openai", "anthropic", "none"]

_ABSENT: Final = msgspec.Raw()
_NULL: Final = msgspec.Raw(b"null")

_COUNTS: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    }
)
_DETAILS: Final = {
    "prompt_tokens_details": "cached_tokens",
    "input_tokens_details": "cached_tokens",
    "input_token_details": "cached_tokens",
    "completion_tokens_details": "reasoning_tokens",
    "output_tokens_details": "reasoning_tokens",
    "output_token_details": "reasoning_tokens",
}
_LAST_RESPONSES: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)


class Reply(msgspec.Struct):
    """A JSON body or the data of one event: the members that are looked at, as they stand."""

    usage: msgspec.Raw = _ABSENT  # OpenAI; Anthropic's message and message_delta
    message: msgspec.Raw = _ABSENT  # Anthropic's message_start
    response: msgspec.Raw = _ABSENT  # OpenAI's response.* events
    choices: msgspec.Raw = _ABSENT
    delta: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT


class _Holder(msgspec.Struct):
    usage: msgspec.Raw = _ABSENT


_REPLY: Final = msgspec.json.Decoder(Reply)
_HOLDER: Final = msgspec.json.Decoder(_Holder)
_TEXT: Final = msgspec.json.Decoder(str)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def decode(document: bytes) -> Reply | None:
    """A reply, or None when the document is no JSON object."""
    return lenient.decode(_REPLY, document)


def usages(reply: Reply) -> Iterator[msgspec.Raw]:
    """The usage objects of a reply; `"usage": null` is none."""
    for holder in (reply.response, reply.message):
        held = None if holder is _ABSENT else lenient.decode(_HOLDER, holder)
        if held is not None and is_object(held.usage):
            yield held.usage
    if is_object(reply.usage):
        yield reply.usage


def fields(usage: msgspec.Raw) -> dict[str, int]:
    """The known counts of a usage object by their wire names, details flattened."""
    stated = lenient.members(usage) or {}
    found = {name: value for name, value in stated.items() if name in _COUNTS}
    for name, part in _DETAILS.items():
        details = lenient.members(stated[name]) if name in stated else None
        if details and part in details:
            found[part] = details[part]
    counts = {name: lenient.quantity(value) for name, value in found.items()}
    return {name: value for name, value in counts.items() if value is not None}


def ending(reply: Reply, *, reported: bool) -> bool | None:
    """What a stream's event says of the usage: True, it is final now; False, more must follow.

    `reported`: the event itself holds usage. None for events that say nothing of the kind.
    """
    kind = None if reply.type is _ABSENT else lenient.decode(_TEXT, reply.type)
    if kind == "message_start":
        return False
    if kind == "message_stop":
        return True
    final = (
        (kind == "message_delta" and _stop_reason(reply))
        or kind in _LAST_RESPONSES
        or is_empty_list(reply.choices)
    )
    return True if reported and final else None


def meters(stated: Mapping[str, int], dialect: Dialect) -> dict[str, int]:
    """The meters that merged wire fields amount to; a reported total counts only if a part is missing."""
    tokens_in = _tokens_in(stated, dialect)
    tokens_out = _first(stated, "completion_tokens", "output_tokens")
    if tokens_in is None or tokens_out is None:
        total = stated.get("total_tokens")
    else:
        total = tokens_in + tokens_out
    read = {
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "tokens_total": total,
        "tokens_cached": _first(stated, "cached_tokens", "cache_read_input_tokens"),
        "tokens_reasoning": stated.get("reasoning_tokens"),
    }
    return {
        meter: value for meter, value in read.items() if value is not None and value <= MAX_QUANTITY
    }


def is_object(value: msgspec.Raw) -> bool:
    """Whether a value is a JSON object."""
    return bytes(memoryview(value)[:1]) == b"{"


def is_empty_list(value: msgspec.Raw) -> bool:
    """Whether a value is `[]`."""
    start = bytes(memoryview(value)[:1]) == b"["
    return start and lenient.decode(_LIST, value) == []


def _stop_reason(reply: Reply) -> bool:
    delta = lenient.members(reply.delta) or {}
    return delta.get("stop_reason", _NULL) != _NULL


def _tokens_in(stated: Mapping[str, int], dialect: Dialect) -> int | None:
    # Some gateways report OpenAI's prompt_tokens with Anthropic's cache fields beside it; the
    # former already includes the latter.
    prompt = _first(stated, "prompt_tokens", "input_tokens")
    if prompt is None or "prompt_tokens" in stated or not _excludes_cache(stated, dialect):
        return prompt
    read = stated.get("cache_read_input_tokens", 0)
    return prompt + read + stated.get("cache_creation_input_tokens", 0)


def _excludes_cache(stated: Mapping[str, int], dialect: Dialect) -> bool:
    """Both families say `input_tokens`; only OpenAI's comes with a details object."""
    if dialect == "auto":
        return "cached_tokens" not in stated
    return dialect == "anthropic"


def _first(stated: Mapping[str, int], *names: str) -> int | None:
    return next((stated[name] for name in names if name in stated), None)
