"""The reader of an event stream that is to say its usage as KooGallery wants it: in one event, the
last before `[DONE]`, or the last of all where there is no such end (spec §1.3). Pure.

Chat completions lose their usage everywhere else, so that nobody can add it up; the events of other
APIs, whose clients read it where it stands, keep theirs.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway import dialects, lenient, sse
from gateway.bodies import MAX_EVENT
from gateway.normal_usage import completed, counts_of
from gateway.readings import Readings
from gateway.watching import DONE, Watch

_USAGE: Final = b'"usage"'
_LF: Final = b"\n"
_EMPTY: Final = msgspec.Raw(b"[]")
_ENDS: Final = (b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\n\r", b"\r\n\r")
_ABOUT: Final = ("id", "object", "created", "model")

Members = dict[str, msgspec.Raw]


class NormalStream:
    """Only the bytes of an event in progress are held back, and an event of usage alone."""

    __slots__ = (
        "_about",
        "_dropped_at_cr",
        "_ended",
        "_held",
        "_open",
        "_parser",
        "_passed",
        "_readings",
        "_usage",
        "_watch",
    )

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._readings = readings
        self._watch = Watch(readings, keys)
        self._parser = sse.Parser(MAX_EVENT, keep_raw=True)
        self._about: Members | None = None  # of a chat completion: what names it
        self._usage: msgspec.Raw | None = None  # the last that was taken out
        self._passed: msgspec.Raw | None = None  # the usage of the last event, if it keeps it
        self._held = b""  # data of the event that held nothing else
        self._ended = False  # the usage was said
        self._open = False  # the last event lacks its blank line
        self._dropped_at_cr = False

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets now."""
        return b"".join([self._pass(piece) for piece in self._parser.feed(chunk)])

    def finish(self) -> bytes:
        """What was held back, and the usage if it has not been said."""
        piece = self._parser.finish()
        rest = b"" if piece is None else self._pass(piece)
        if piece is not None and rest:
            self._open = not rest.endswith(_ENDS)
        said = self._say()
        return rest + b"\n\n" + said if said and self._open else rest + said

    def _pass(self, piece: sse.Piece) -> bytes:
        after_drop, self._dropped_at_cr = self._dropped_at_cr, False
        if piece.data is None:
            # The other half of the dropped event's last line end, cut off by a chunk's edge.
            return b"" if after_drop and piece.raw == _LF else piece.raw
        self._watch.see(piece.data)
        if piece.data.strip() == DONE:
            return self._say() + piece.raw
        if not piece.whole:
            return piece.raw
        kept = self._without_usage(piece)
        self._dropped_at_cr = not kept and piece.raw.endswith(b"\r")
        return kept

    def _without_usage(self, piece: sse.Piece) -> bytes:
        """A chat completion's event without its usage, which is kept; b"" if it held nothing else."""
        data = piece.data or b""
        self._passed = None
        if self._about is not None and _USAGE not in data:
            return piece.raw
        members = lenient.members(data)
        if members is None or "choices" not in members:
            self._passed = None if members is None else members.get("usage")
            return piece.raw
        self._about = {name: members[name] for name in _ABOUT if name in members}
        usage = members.pop("usage", None)
        if usage is None or not dialects.is_object(usage):
            return piece.raw
        self._usage = usage
        if dialects.is_empty_list(members["choices"]):
            self._held = data
            return b""
        return _with_data(piece.raw, _line(members))

    def _say(self) -> bytes:
        """The event of usage; b"" if there is nothing to say, or it was said."""
        if self._ended:
            return b""
        self._ended = True
        counts = counts_of(self._readings.quantities(complete=True))
        wanted = completed(self._usage, counts)
        if counts and _says(self._passed, counts):
            return b""  # the last event says it already
        if not wanted:
            return b"data: %b\n\n" % self._held if self._held else b""
        usage = msgspec.Raw(msgspec.json.encode(wanted))
        held = _members(self._held)
        if held and _members(held["usage"]) == wanted and _LF not in self._held:
            return b"data: %b\n\n" % self._held
        about = {} if self._about is None else self._about | {"choices": _EMPTY}
        return b"data: %b\n\n" % _line(about | held | {"usage": usage})


def _says(usage: msgspec.Raw | None, counts: Mapping[str, int]) -> bool:
    return usage is not None and completed(usage, counts) == _members(usage)


def _members(value: bytes | msgspec.Raw) -> Members:
    return lenient.members(value) or {}


def _line(members: Members) -> bytes:
    """An object in one line: between its values, which stay as they stood, a line feed is a space."""
    return msgspec.json.encode(members).replace(_LF, b" ")


def _with_data(raw: bytes, data: bytes) -> bytes:
    """An event with other data; its other lines stay."""
    lines = raw.splitlines(keepends=True)
    at = [index for index, line in enumerate(lines) if _is_data(line, first=index == 0)]
    line = lines[at[-1]]
    end = line[len(line.rstrip(b"\r\n")) :]
    lines[at[-1]] = b"data: " + data + end
    return b"".join([line for index, line in enumerate(lines) if index not in at[:-1]])


def _is_data(line: bytes, *, first: bool) -> bool:
    content = line.rstrip(b"\r\n")
    return sse.field(content.removeprefix(sse.BOM) if first else content)[0] == b"data"
