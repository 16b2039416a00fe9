"""Readers of replies in JSON: one value, a list that is a stream, or values a line each. Pure.

Each is fed the body's bytes and returns those that the client gets.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway import lenient
from gateway.readings import Readings
from gateway.unpacking import Unreadable
from gateway.watching import Watch

MAX_JSON: Final = 8 * 1024 * 1024

BOM: Final = b"\xef\xbb\xbf"
_LIST_START: Final = b"["
_LF: Final = b"\n"
_METADATA: Final = b'"usageMetadata"'
_ENDS_OF_LINES: Final = ("eval_count", "billed_units")  # Ollama's and Cohere's last line
_MAX_TRIES: Final = 3
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class JsonBody:
    """Collects a JSON body and reads it at its end."""

    __slots__ = ("_only", "_readings", "_rest")

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._only = b""  # one that came in one piece is not copied
        self._rest: bytearray | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The chunk itself. Raises Unreadable past MAX_JSON."""
        if not self._only:
            self._only = chunk
            if len(chunk) > MAX_JSON:
                raise Unreadable("a JSON body too large to read")
            return chunk
        if self._rest is None:
            self._rest = bytearray(self._only)
        if len(self._rest) + len(chunk) > MAX_JSON:
            raise Unreadable("a JSON body too large to read")
        self._rest += chunk
        return chunk

    def finish(self) -> bytes:
        """Reads the body; holds nothing back."""
        body = self._only if self._rest is None else bytes(self._rest)
        body = body.removeprefix(BOM)
        if body.startswith(_LIST_START):
            for document in documents(body):
                self._readings.see(document)
        else:
            self._readings.see(body)
        self._only, self._rest = b"", None
        return b""


class JsonLines:
    """Reads JSON values that stand a line each. A line of more than MAX_JSON is passed over."""

    __slots__ = ("_line", "_too_long", "_watch")

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._watch = Watch(readings, (*keys, *_ENDS_OF_LINES))
        self._line = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        *whole, rest = chunk.split(_LF)
        for part in whole:
            self._extend(part)
            self._end()
        self._extend(rest)
        return chunk

    def finish(self) -> bytes:
        """Reads a line that lacks its end; holds nothing back."""
        self._end()
        return b""

    def _extend(self, part: bytes) -> None:
        if self._too_long or len(self._line) + len(part) > MAX_JSON:
            self._too_long = True
            self._line.clear()
        else:
            self._line += part

    def _end(self) -> None:
        line, self._too_long = bytes(self._line), False
        self._line.clear()
        if line:
            self._watch.see(line)


def documents(body: bytes) -> Iterable[bytes]:
    """The documents of a JSON body: it, or the elements of Gemini's stream that is one long list.

    Of a list that was cut, those that came whole.
    """
    if not body.startswith(_LIST_START) or _METADATA not in body:
        return (body,)
    elements, end = lenient.decode(_LIST, body), len(body)
    for _ in range(_MAX_TRIES):
        if elements is not None or end < 0:
            break
        elements = lenient.decode(_LIST, body[:end].rstrip().removesuffix(b",") + b"]")
        end = body.rfind(b"\n,", 0, end)
    return [bytes(each) for each in elements or ()]
