"""How the bytes of a body are labelled and packed: media types and content codings (RFC 9110 §8.3,
§8.4). Pure.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.unpacking import GZIP, Inflater, Unbrotli, Unpacker, Unreadable, Unzstd

_IDENTITY: Final = (b"", b"identity")
_UNPACKERS: Final[Mapping[bytes, Callable[[], Unpacker]]] = {
    b"gzip": lambda: Inflater(GZIP),
    b"x-gzip": lambda: Inflater(GZIP),
    b"deflate": lambda: Inflater(None),
    b"br": Unbrotli,
    b"zstd": Unzstd,
}
CODINGS: Final = frozenset({*_UNPACKERS, b"identity"})  # of replies that can be read

# JSON values one after the other, a line each: Ollama's streams, Cohere's of version 1.
_LINES: Final = frozenset(
    {
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/x-jsonl",
        b"application/jsonlines",
        b"application/json-lines",
        b"application/stream+json",
    }
)


def media_type(content_type: bytes) -> bytes:
    """The media type of a Content-Type, lower case, without parameters."""
    return content_type.partition(b";")[0].strip().lower()


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type says JSON: application/json or a structured syntax suffix +json."""
    kind = media_type(content_type)
    return kind == b"application/json" or (kind.endswith(b"+json") and kind not in _LINES)


def is_json_lines(content_type: bytes) -> bool:
    """Whether a Content-Type says JSON values, a line each."""
    return media_type(content_type) in _LINES


def is_event_stream(content_type: bytes) -> bool:
    """Whether a Content-Type says server-sent events."""
    return media_type(content_type) == b"text/event-stream"


def is_plain(content_encoding: bytes) -> bool:
    """Whether a Content-Encoding says that the bytes are what they mean."""
    return content_encoding.strip().lower() in _IDENTITY


def unpacker(content_encoding: bytes) -> Unpacker | None:
    """What undoes a Content-Encoding; None for identity. Raises Unreadable for one it does not know."""
    coding = content_encoding.strip().lower()
    if coding in _IDENTITY:
        return None
    make = _UNPACKERS.get(coding)
    if make is None:
        raise Unreadable("unknown content coding")
    return make()
