"""Readers of a reply's body: each is fed its bytes and returns those that the client gets. Pure."""

from collections.abc import Iterable
from typing import Final

from gateway import sse
from gateway.decoding import Unreadable
from gateway.readings import Readings
from gateway.stripping import strip

MAX_JSON: Final = 8 * 1024 * 1024
# As much as a JSON body: response.completed repeats the whole answer, images included.
MAX_EVENT: Final = MAX_JSON
MAX_HELD: Final = 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_STOP: Final = b"message_stop"


class JsonBody:
    """Collects a JSON body and reads it at its end."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._body = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The chunk itself. Raises Unreadable past MAX_JSON."""
        if len(self._body) + len(chunk) > MAX_JSON:
            raise Unreadable("a JSON body too large to read")
        self._body += chunk
        return chunk

    def finish(self) -> bytes:
        """Reads the body; holds nothing back."""
        self._readings.see(bytes(self._body).removeprefix(_BOM))
        self._body.clear()
        return b""


class _Watch:
    """Picks the events that are worth decoding."""

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._readings = readings
        self._needles = (b'"usage"', _DONE, _STOP, *(f'"{key}"'.encode() for key in keys))

    def wants(self, data: bytes) -> bool:
        """Whether these bytes, of an event or of many, may hold something to read."""
        return any(needle in data for needle in self._needles)

    def see(self, data: bytes) -> None:
        """Reads the data of one event."""
        if data.strip() == _DONE:
            self._readings.end()
        elif self.wants(data):
            self._readings.see(data)


class EventStream:
    """Reads a stream of events that passes through untouched and at once."""

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._watch = _Watch(readings, keys)
        self._parser = sse.Parser(MAX_EVENT)

    def feed(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        rest = chunk if self._watch.wants(chunk) else self._parser.skip(chunk)
        for piece in self._parser.feed(rest):
            if piece.data is not None:
                self._watch.see(piece.data)
        return chunk

    def finish(self) -> bytes:
        """Reads an event that lacks its blank line; holds nothing back."""
        piece = self._parser.finish()
        if piece is not None and piece.data is not None:
            self._watch.see(piece.data)
        return b""


class StrippedStream:
    """Reads a stream of events and takes the injected usage out of it.

    Only the bytes of an event in progress are held back, up to MAX_HELD.
    """

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._watch = _Watch(readings, keys)
        self._parser = sse.Parser(MAX_HELD, keep_raw=True)
        self._dropped_at_cr = False

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets now."""
        return b"".join([self._pass(piece) for piece in self._parser.feed(chunk)])

    def finish(self) -> bytes:
        """What was held back."""
        piece = self._parser.finish()
        return b"" if piece is None else self._pass(piece)

    def _pass(self, piece: sse.Piece) -> bytes:
        after_drop, self._dropped_at_cr = self._dropped_at_cr, False
        if piece.data is None:
            # The other half of the dropped event's last line end, cut off by a chunk's edge.
            return b"" if after_drop and piece.raw == b"\n" else piece.raw
        self._watch.see(piece.data)
        if not piece.whole:
            return piece.raw
        kept = strip(piece.raw, piece.data)
        self._dropped_at_cr = not kept and piece.raw.endswith(b"\r")
        return kept


Body = JsonBody | EventStream | StrippedStream
