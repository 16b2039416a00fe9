"""The usage of a reply that is written as the known APIs write it, decoded in one step. Pure.

Anything unusual is None here and left to the patient reading of dialects.py, with which this agrees.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from gateway import lenient
from gateway.amounts import NOTHING_STATED, Counts
from gateway.dialects import ABSENT, ending
from metering.usage import MAX_QUANTITY

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_QUANTITY)] | None


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: _Count = None


class _Reasoned(msgspec.Struct, gc=False):
    reasoning_tokens: _Count = None


class _Usage(msgspec.Struct, gc=False):
    """A usage object as the known APIs write it."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    prompt_tokens_details: _Cached | None = None
    input_tokens_details: _Cached | None = None
    input_token_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None
    output_tokens_details: _Reasoned | None = None
    output_token_details: _Reasoned | None = None
    # Of other APIs: where one of these is stated the object is not for this reader. They stand
    # last, where they cost the others least.
    image_count: None = None
    video_duration: None = None
    duration: None = None
    seconds: None = None
    prompt_audio_seconds: None = None
    characters: None = None
    billed_units: None = None
    tokens: None = None
    models: None = None


class _Known(msgspec.Struct, gc=False):
    """A reply whose usage is written as the known APIs do."""

    usage: _Usage | None = None
    message: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT
    choices: msgspec.Raw = ABSENT
    delta: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT
    transcripts: None = None


class _ChatUsage(msgspec.Struct, gc=False):
    """A usage object as chat completions write it; of the others only whether they are there."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None
    cache_read_input_tokens: _Count = None
    total_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    input_tokens_details: msgspec.Raw = ABSENT
    input_token_details: msgspec.Raw = ABSENT
    output_tokens_details: msgspec.Raw = ABSENT
    output_token_details: msgspec.Raw = ABSENT
    image_count: None = None
    video_duration: None = None
    duration: None = None
    seconds: None = None
    prompt_audio_seconds: None = None
    characters: None = None
    billed_units: None = None
    tokens: None = None
    models: None = None


class _Chat(msgspec.Struct, gc=False):
    """A chat completion; of what other replies hold only whether it is there."""

    usage: _ChatUsage | None = None
    message: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT
    transcripts: None = None


_read_chat: Final = msgspec.json.Decoder(_Chat).decode
_read_known: Final = msgspec.json.Decoder(_Known).decode


def known(document: bytes) -> tuple[Counts, bool | None] | None:
    """The counts of a reply with one usage, written as the known APIs do, and what `ending` says.

    None for any other: it is to be read by `decode` and `stated`, which agree with this.
    """
    try:
        reply = _read_known(document)
    except lenient.UNREADABLE:
        return None
    usage = reply.usage
    if usage is None or reply.message is not ABSENT or reply.response is not ABSENT:
        return None
    read = usage.prompt_tokens_details, usage.input_tokens_details, usage.input_token_details
    made = (
        usage.completion_tokens_details,
        usage.output_tokens_details,
        usage.output_token_details,
    )
    if read.count(None) < 2 or made.count(None) < 2:
        return None  # of several, the last one that states anything counts
    cached, reasoned = read[0] or read[1] or read[2], made[0] or made[1] or made[2]
    if not _is_utf8(document):
        return None
    counts = Counts(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        None if cached is None else cached.cached_tokens,
        None if reasoned is None else reasoned.reasoning_tokens,
    )
    return counts, ending(reply, reported=counts != NOTHING_STATED)


def usual(document: bytes) -> tuple[int, int, int | None, int | None] | None:
    """Tokens in and out, cached and reasoning, of a chat completion as nearly all are written.

    None for any other document; then it is to be read by `known` or `decode`, which agree with this.
    """
    try:
        reply = _read_chat(document)
    except lenient.UNREADABLE:
        return None
    usage = reply.usage
    if (
        usage is None
        or reply.message is not ABSENT
        or reply.response is not ABSENT
        or reply.type is not ABSENT
    ):
        return None
    tokens_in, tokens_out = usage.prompt_tokens, usage.completion_tokens
    if (
        tokens_in is None
        or tokens_out is None
        or usage.input_tokens_details is not ABSENT
        or usage.input_token_details is not ABSENT
        or usage.output_tokens_details is not ABSENT
        or usage.output_token_details is not ABSENT
        or tokens_in + tokens_out > MAX_QUANTITY
        or not (document.isascii() or _is_utf8(document))
    ):
        return None
    read, made = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = None if read is None else read.cached_tokens
    if cached is None:
        cached = usage.cache_read_input_tokens
    return tokens_in, tokens_out, cached, None if made is None else made.reasoning_tokens


def _is_utf8(document: bytes) -> bool:
    """A key that is no UTF-8 spoils the object it stands in."""
    if document.isascii():
        return True
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return True
