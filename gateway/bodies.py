"""Readers of event streams: each is fed its bytes and returns those that the client gets. Pure."""

from collections.abc import Iterable
from typing import Final

from gateway import sse
from gateway.json_bodies import MAX_JSON
from gateway.readings import Readings
from gateway.stripping import strip, strip_null, strip_nulls
from gateway.watching import DONE, USAGE, Watch

# As much as a JSON body: response.completed repeats the whole answer, images included.
MAX_EVENT: Final = MAX_JSON
MAX_HELD: Final = 1024 * 1024

_LF: Final = b"\n"
_CR: Final = b"\r"
_LF_LF: Final = b"\n\n"
_BLANK_LINES: Final = sse.BLANK_LINES
_DATA: Final = b"data: "
_MESSAGE: Final = b"message_st"  # Anthropic's first event, and its last


class EventStream:
    """Reads a stream of events that passes through untouched and at once."""

    __slots__ = ("_parser", "_plain", "_watch")

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._watch = Watch(readings, keys)
        self._parser = sse.Parser(MAX_EVENT)
        self._plain = False  # a chunk of whole events without usage can change nothing

    def feed(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        if (
            self._plain
            and chunk.find(USAGE) < 0  # `in` would first try whether it is a number
            and chunk.find(DONE) < 0
            and chunk.find(_MESSAGE) < 0
            and chunk.endswith(_BLANK_LINES)
        ):
            return chunk
        rest = chunk if self._watch.wants(chunk) else self._parser.skip(chunk)
        if rest:
            for piece in self._parser.feed(rest):
                if piece.data is not None:
                    self._watch.see(piece.data)
        self._plain = self._parser.between and not self._watch.keyed
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

    __slots__ = ("_dropped_at_cr", "_parser", "_plain", "_watch")

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._watch = Watch(readings, keys)
        self._parser = sse.Parser(MAX_HELD, keep_raw=True)
        self._dropped_at_cr = False
        self._plain = False  # a chunk of whole events can be taken event by event

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets now."""
        if self._plain and chunk.endswith(_LF_LF):
            quick = self._feed_whole(chunk)
            if quick is not None:
                return quick
        kept = b"".join([self._pass(piece) for piece in self._parser.feed(chunk)])
        self._plain = self._parser.between and not self._dropped_at_cr and not self._watch.keyed
        return kept

    def _feed_whole(self, chunk: bytes) -> bytes | None:
        """What the client gets of usual events, whole ones; None for any other."""
        at = chunk.find(USAGE)
        if at < 0 and chunk.find(DONE) < 0 and chunk.find(_MESSAGE) < 0:
            return chunk
        if chunk.find(_CR) >= 0 or len(chunk) > MAX_HELD:
            return None
        if at > 0 and chunk.find(_MESSAGE) < 0:  # objects without usage need not be read
            single = chunk.find(_LF) == len(chunk) - 2
            kept = strip_null(chunk, at) if single else strip_nulls(chunk, at)
            if kept is not None:
                return kept
        return self._feed_lines(chunk)

    def _feed_lines(self, chunk: bytes) -> bytes | None:
        """What the client gets of whole events of one line each; None for any other."""
        events = chunk.split(_LF_LF)
        events.pop()
        if chunk.count(_LF) != 2 * len(events):
            return None
        if not all(event.startswith(_DATA) for event in events):
            return None
        pieces = [sse.Piece(event + _LF_LF, event[len(_DATA) :]) for event in events]
        return b"".join([self._pass(piece) for piece in pieces])

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
