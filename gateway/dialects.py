"""Where the usage of the known APIs stands in a reply, and what says that it is final. Pure.

A reply's `usage` counts before what other APIs have in its place: Gemini's `usageMetadata`, Cohere's
`meta`, Ollama's counts. `transcripts` stand beside any of them.
"""

from typing import Final, NamedTuple, Protocol

import msgspec

from gateway import lenient, usage_fields
from gateway.amounts import Dialect

ABSENT: Final = msgspec.Raw()
_NULL: Final = msgspec.Raw(b"null")
_TRUE: Final = msgspec.Raw(b"true")
_SPACE: Final = b" \t\r\n"
_LOOK: Final = 32  # bytes of a list that nearly always tell whether it is empty

_LAST_RESPONSES: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)


class Reply(msgspec.Struct, gc=False):
    """A JSON body or the data of one event: the members that are looked at, as they stand."""

    usage: msgspec.Raw = ABSENT  # OpenAI; Anthropic's message and message_delta; DashScope; Cohere
    message: msgspec.Raw = ABSENT  # Anthropic's message_start
    response: msgspec.Raw = ABSENT  # OpenAI's response.* events; the end of Cohere's old streams
    choices: msgspec.Raw = ABSENT
    delta: msgspec.Raw = ABSENT  # holds the usage at the end of Cohere's streams
    type: msgspec.Raw = ABSENT
    usageMetadata: msgspec.Raw = ABSENT  # noqa: N815 - Gemini's name
    candidates: msgspec.Raw = ABSENT  # Gemini
    meta: msgspec.Raw = ABSENT  # Cohere, first version
    is_finished: msgspec.Raw = ABSENT
    prompt_eval_count: msgspec.Raw = ABSENT  # Ollama
    eval_count: msgspec.Raw = ABSENT
    done: msgspec.Raw = ABSENT
    transcripts: msgspec.Raw = ABSENT  # DashScope's, and KooGallery's table


class Ending(Protocol):
    """What of a reply with `usage` tells whether it is final."""

    choices: msgspec.Raw
    delta: msgspec.Raw
    type: msgspec.Raw


class Stated(NamedTuple):
    """The fields that an object of usage states, by their names in usage_fields.py; `raw`, itself."""

    fields: dict[str, int]
    raw: msgspec.Raw


class _Holder(msgspec.Struct, gc=False):
    usage: msgspec.Raw = ABSENT
    usageMetadata: msgspec.Raw = ABSENT  # noqa: N815 - Gemini's name
    meta: msgspec.Raw = ABSENT


class _Candidate(msgspec.Struct, gc=False):
    finishReason: msgspec.Raw = _NULL  # noqa: N815 - Gemini's name


_REPLY: Final = msgspec.json.Decoder(Reply)
_HOLDER: Final = msgspec.json.Decoder(_Holder)
_CANDIDATES: Final = msgspec.json.Decoder(list[_Candidate])
_TEXT: Final = msgspec.json.Decoder(str)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def decode(document: bytes) -> Reply | None:
    """A reply, or None when the document is no JSON object."""
    return lenient.decode(_REPLY, document)


def stated(reply: Reply, dialect: Dialect) -> list[Stated]:
    """What a reply states of its usage, one object after the other; `"usage": null` is none."""
    found: list[Stated] = []
    for holder in (reply.response, reply.message):
        held = None if holder is ABSENT else lenient.decode(_HOLDER, holder)
        if held is not None:
            found += _held(held, dialect)
    if is_object(reply.usage):
        found.append(Stated(usage_fields.of_usage(reply.usage, dialect), reply.usage))
    elif not found:
        found = _elsewhere(reply, dialect)
    if reply.transcripts is not ABSENT:
        found.append(Stated(usage_fields.of_transcripts(reply.transcripts), reply.transcripts))
    return found


def _held(holder: _Holder, dialect: Dialect) -> list[Stated]:
    if is_object(holder.usage):
        return [Stated(usage_fields.of_usage(holder.usage, dialect), holder.usage)]
    if is_object(holder.usageMetadata):
        return [Stated(usage_fields.of_gemini(holder.usageMetadata), holder.usageMetadata)]
    if is_object(holder.meta):
        return [Stated(usage_fields.of_cohere(holder.meta), holder.meta)]
    return []


def _elsewhere(reply: Reply, dialect: Dialect) -> list[Stated]:
    if reply.usageMetadata is not ABSENT or reply.meta is not ABSENT:
        return _held(_Holder(ABSENT, reply.usageMetadata, reply.meta), dialect)
    if reply.delta is not ABSENT:
        held = lenient.decode(_HOLDER, reply.delta)
        return [] if held is None else _held(held, dialect)
    if reply.prompt_eval_count is ABSENT and reply.eval_count is ABSENT:
        return []
    counts = {"prompt_eval_count": reply.prompt_eval_count, "eval_count": reply.eval_count}
    counts = {name: value for name, value in counts.items() if value is not ABSENT}
    return [Stated(usage_fields.of_ollama(counts), msgspec.Raw(msgspec.json.encode(counts)))]


def final(reply: Reply, *, reported: bool) -> bool | None:
    """What a reply says of the usage: True, it is final now; False, more must follow.

    `reported`: the reply itself states usage. None for those that say nothing of the kind.
    """
    said = ending(reply, reported=reported)
    return True if said is None and reported and _has_finished(reply) else said


def ending(reply: Ending, *, reported: bool) -> bool | None:
    """The same of an event of OpenAI's, Anthropic's or Cohere's."""
    if reply.type is ABSENT:
        return True if reported and is_empty_list(reply.choices) else None
    kind = lenient.decode(_TEXT, reply.type)
    if kind == "message_start":
        return False
    if kind == "message_stop":
        return True
    last = (
        (kind == "message_delta" and _stop_reason(reply))
        or kind in _LAST_RESPONSES
        or kind == "message-end"
        or is_empty_list(reply.choices)
    )
    return True if reported and last else None


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


def _has_finished(reply: Reply) -> bool:
    """Whether Gemini, Ollama or the old Cohere say that nothing follows."""
    if is_object(reply.usage):
        return False  # as `ending` judges it
    if reply.candidates is not ABSENT:
        candidates = lenient.decode(_CANDIDATES, reply.candidates) or []
        return any(each.finishReason != _NULL for each in candidates)
    return _TRUE in (reply.done, reply.is_finished)
