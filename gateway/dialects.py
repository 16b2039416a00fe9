"""What the usage of the known APIs says: where it stands in a reply, its wire fields, their meters.

Convention, after OpenTelemetry's GenAI semantic conventions ("gen_ai.usage.input_tokens SHOULD
include all types of input tokens, including cached tokens"): `tokens_in` includes the cached tokens.
OpenAI's counts do already; Anthropic's `input_tokens` leaves out what was read from or written to
the cache, so it is added. `tokens_cached` and `tokens_reasoning` are parts, never added again. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, Protocol

import msgspec

from gateway import lenient
from metering.usage import MAX_QUANTITY

Dialect = Literal["auto", "openai", "anthropic", "none"]

ABSENT: Final = msgspec.Raw()
_NULL: Final = msgspec.Raw(b"null")
_SPACE: Final = b" \t\r\n"
_LOOK: Final = 32  # bytes of a list that nearly always tell whether it is empty

METERS: Final = ("tokens_in", "tokens_out", "tokens_total", "tokens_cached", "tokens_reasoning")

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


class Reply(msgspec.Struct, gc=False):
    """A JSON body or the data of one event: the members that are looked at, as they stand."""

    usage: msgspec.Raw = ABSENT  # OpenAI; Anthropic's message and message_delta
    message: msgspec.Raw = ABSENT  # Anthropic's message_start
    response: msgspec.Raw = ABSENT  # OpenAI's response.* events
    choices: msgspec.Raw = ABSENT
    delta: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT


class Ending(Protocol):
    """What of a reply tells whether its usage is final."""

    choices: msgspec.Raw
    delta: msgspec.Raw
    type: msgspec.Raw


class _Holder(msgspec.Struct, gc=False):
    usage: msgspec.Raw = ABSENT


class Counts(msgspec.Struct, gc=False):
    """The known counts by their wire names, details flattened; None for those not stated."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def stated(self) -> dict[str, int]:
        """Those that are stated, as `fields` has them."""
        named = msgspec.structs.asdict(self)
        return {name: value for name, value in named.items() if value is not None}


NOTHING_STATED: Final = Counts()

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
        held = None if holder is ABSENT else lenient.decode(_HOLDER, holder)
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


def ending(reply: Ending, *, reported: bool) -> bool | None:
    """What a stream's event says of the usage: True, it is final now; False, more must follow.

    `reported`: the event itself holds usage. None for events that say nothing of the kind.
    """
    if reply.type is ABSENT:
        return True if reported and is_empty_list(reply.choices) else None
    kind = lenient.decode(_TEXT, reply.type)
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
    """The meters that merged wire fields amount to."""
    read = zip(METERS, amounts(Counts(**stated), dialect), strict=True)
    return {meter: value for meter, value in read if value is not None}


def amounts(stated: Counts, dialect: Dialect) -> tuple[int | None, ...]:
    """Of each of METERS what was read, None for nothing.

    A reported total counts only if a part is missing.
    """
    tokens_in = _tokens_in(stated, dialect)
    tokens_out = stated.completion_tokens
    if tokens_out is None:
        tokens_out = stated.output_tokens
    if tokens_in is None or tokens_out is None:
        total = stated.total_tokens
    else:
        total = tokens_in + tokens_out
    cached = stated.cached_tokens
    if cached is None:
        cached = stated.cache_read_input_tokens
    if tokens_in is not None and tokens_in > MAX_QUANTITY:
        tokens_in = None
    if total is not None and total > MAX_QUANTITY:
        total = None
    return tokens_in, tokens_out, total, cached, stated.reasoning_tokens


def is_object(value: msgspec.Raw) -> bool:
    """Whether a value is a JSON object."""
    return bytes(memoryview(value)[:1]) == b"{"


def is_empty_list(value: msgspec.Raw) -> bool:
    """Whether a value is `[]`."""
    if value is ABSENT:
        return False
    start = bytes(memoryview(value)[:_LOOK])
    if start[:1] != b"[" or start[1:].lstrip(_SPACE)[:1] not in (b"]", b""):
        return False
    return lenient.decode(_LIST, value) == []


def _stop_reason(reply: Ending) -> bool:
    delta = lenient.members(reply.delta) or {}
    return delta.get("stop_reason", _NULL) != _NULL


def _tokens_in(stated: Counts, dialect: Dialect) -> int | None:
    # Some gateways report OpenAI's prompt_tokens with Anthropic's cache fields beside it; the
    # former already includes the latter.
    if stated.prompt_tokens is not None:
        return stated.prompt_tokens
    said = stated.input_tokens
    if said is None or not _excludes_cache(stated, dialect):
        return said
    read = stated.cache_read_input_tokens or 0
    return said + read + (stated.cache_creation_input_tokens or 0)


def _excludes_cache(stated: Counts, dialect: Dialect) -> bool:
    """Both families say `input_tokens`; only OpenAI's comes with a details object."""
    if dialect == "auto":
        return stated.cached_tokens is None
    return dialect == "anthropic"
