"""Asks the upstream of an OpenAI-style stream for its usage when the client did not. Pure; what is
put in here, `stripping` takes out of the reply again.
"""

from typing import Final

import msgspec

from gateway import decoding, lenient
from gateway.tap import UsagePlan

MAX_BODY: Final = 4 * 1024 * 1024

_ASKED: Final = ("auto", "openai", "koogallery")  # Mistral's API refuses the option, and needs none
_ESCAPE: Final = rb"\u00"  # letters of the key may be written so
_TRUE: Final = msgspec.Raw(b"true")
_FALSE: Final = msgspec.Raw(b"false")
_NULL: Final = msgspec.Raw(b"null")


class _Key(str):
    """Equal to itself only, so that a key that stands twice is two keys."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _key(_: type, text: str) -> _Key:
    return _Key(text)


_PAIRS: Final = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=_key)


def wants_buffering(plan: UsagePlan, *, method: str, path: str, content_type: bytes) -> bool:
    """Whether the request body must be collected, up to MAX_BODY, and offered to `inject`."""
    return (
        plan.inject
        and plan.dialect in _ASKED
        and method == "POST"
        and path.partition("?")[0].endswith("/completions")  # chat/completions and completions
        and decoding.is_json(content_type)
    )


def may_ask(body: bytes) -> bool:
    """Whether `inject` may have something to do: seldom, and seen without decoding."""
    # `find`, because `in` first asks a bytes object for a number.
    return body.find(b'"stream"') >= 0 or (body.find(b"\\") >= 0 and body.find(_ESCAPE) >= 0)


def inject(body: bytes) -> bytes | None:
    """The body with `stream_options.include_usage` true, all other values byte for byte.

    None when it must go as it is: not streaming, already asking, not understood without doubt.
    """
    if not may_ask(body):
        return None
    members = _members(body) if len(body) <= MAX_BODY else None
    if members is None or members.get("stream") != _TRUE:
        return None
    options = _asking(members.get("stream_options", _NULL))
    if options is None:
        return None
    return msgspec.json.encode(members | {"stream_options": msgspec.Raw(options)})


def _asking(options: msgspec.Raw) -> bytes | None:
    """The stream options with include_usage set; None if it is set already or they are no object."""
    members = {} if options == _NULL else _members(options)
    if members is None or members.get("include_usage", _NULL) not in (_FALSE, _NULL):
        return None
    return msgspec.json.encode(members | {"include_usage": True})


def _members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object, or None; also for one with a key twice, which others may read
    differently."""
    pairs = lenient.decode(_PAIRS, data)
    if pairs is None:
        return None
    members = {str(key): value for key, value in pairs.items()}
    return members if len(members) == len(pairs) else None
