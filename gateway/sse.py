"""Server-sent events, cut out of bytes that come in any pieces: WHATWG HTML, "Parsing an event
stream". Pure. Every byte fed comes out again in exactly one piece, so that a whole event can be
taken out of a stream and nothing else changes.
"""

from typing import Final, NamedTuple

LIMIT: Final = 1024 * 1024
BOM: Final = b"\xef\xbb\xbf"
_LF: Final = b"\n"
_CR: Final = b"\r"
BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n")  # the usual ones, wherever they stand


class Piece(NamedTuple):
    """Some bytes of the stream, and the event they finish, if they do.

    `raw` joined over all pieces is the stream (empty unless raw bytes are kept). `data` is None for
    comments and blank lines between events, and for an event without data or over the bound. `whole`
    says that `raw` reaches back to the event's first byte.
    """

    raw: bytes
    data: bytes | None = None
    name: bytes = b""
    whole: bool = True


def field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a line without its end; one space after the colon is not part of the value."""
    name, _, value = line.partition(b":")
    return name, value[1:] if value.startswith(b" ") else value


class Parser:
    """Cuts a stream into pieces; never raises.

    A line or an event of more than `limit` bytes is passed over without being held, and the stream
    goes on behind it.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_first",
        "_keep_raw",
        "_limit",
        "_line",
        "_lost",
        "_name",
        "_raw",
        "_size",
        "_started",
        "_too_long",
        "_whole",
    )

    def __init__(self, limit: int = LIMIT, *, keep_raw: bool = False) -> None:
        self._limit = limit
        self._keep_raw = keep_raw
        self._first = True  # only the first line may start with a byte order mark
        self._after_cr = False  # a line feed now would be the other half of that line's end
        self._line = bytearray()  # what has come of the line in progress
        self._too_long = False  # the line in progress is being passed over
        self._raw = bytearray()  # what has come of the event in progress, unless handed out
        self._whole = True  # nothing of the event in progress has been handed out
        self._begin()

    def _begin(self) -> None:
        self._started = False
        self._lost = False  # a part of the data was passed over: the rest must not be believed
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event, whatever it is, and nothing is held."""
        return not (self._started or self._line or self._too_long or self._first or self._after_cr)

    def skip(self, chunk: bytes) -> bytes:
        """What is left of a chunk behind its last whole event.

        For chunks without anything of interest, when raw bytes are not kept: far cheaper than `feed`.
        """
        if self._started or self._line or self._too_long:
            return chunk
        if chunk.endswith(BLANK_LINES):
            self._first = self._after_cr = False
            return b""
        ends = [chunk.rfind(end) + len(end) for end in BLANK_LINES if end in chunk]
        if not ends:
            return chunk
        self._first = self._after_cr = False
        return chunk[max(ends) :]

    def feed(self, chunk: bytes) -> list[Piece]:
        """The pieces that `chunk` finishes."""
        # On bytes, splitlines knows exactly the three line ends of an event stream.
        pieces = [self._take(part) for part in chunk.splitlines(keepends=True)]
        return [piece for piece in pieces if piece is not None]

    def finish(self) -> Piece | None:
        """What is left when the stream ends, read as if a blank line had followed."""
        if self._line or self._too_long:
            self._end_line(b"")
        return self._end_event() if self._started or self._raw else None

    def _take(self, part: bytes) -> Piece | None:
        """Takes a line, or a part of one that the chunk's edge cut off."""
        after_cr, self._after_cr = self._after_cr, part.endswith(_CR)
        if after_cr and part == _LF:
            return self._hold(part) if self._started else self._between(part)
        content = part.rstrip(b"\r\n")
        if len(content) == len(part):
            self._extend_line(content)
            return self._hold(part)
        return self._end_of_line(content, part)

    def _end_of_line(self, content: bytes, part: bytes) -> Piece | None:
        blank = self._end_line(content)
        if not self._started:
            return self._between(part)
        if not blank:
            return self._hold(part)
        # Not through _hold: whether an event is whole must not hang on how its blank line was cut.
        if self._keep_raw:
            self._raw += part
        return self._end_event()

    def _extend_line(self, content: bytes) -> None:
        if self._too_long:
            return
        self._line += content
        if len(self._line) > self._limit:
            self._pass_over(bytes(self._line[:8]))

    def _pass_over(self, start: bytes) -> None:
        """Lets go of a line that is too long; its event is lost only if it belonged to the data."""
        self._too_long = True
        self._line.clear()
        start = start.removeprefix(BOM) if self._first else start
        self._started = self._started or not start.startswith(b":")
        self._lost = self._lost or start.startswith(b"data:")

    def _end_line(self, content: bytes) -> bool:
        """Ends the line in progress with its last bytes; True if it was blank."""
        if self._line or len(content) > self._limit:
            self._extend_line(content)
            content = bytes(self._line)
        passed_over, self._too_long = self._too_long, False
        self._line.clear()
        if self._first:
            self._first = False
            content = content.removeprefix(BOM)
        if not passed_over:
            self._read(content)
        return not content and not passed_over

    def _read(self, line: bytes) -> None:
        if not line or line.startswith(b":"):
            return
        self._started = True
        name, value = field(line)
        if name == b"data":
            self._size += len(value) + 1
            self._lost = self._lost or self._size > self._limit
            self._data.append(value)
        elif name == b"event":
            self._name = value
        if self._lost:
            self._data.clear()

    def _hold(self, part: bytes) -> Piece | None:
        """Keeps bytes until their event is whole, or hands all of them out past the bound."""
        if not self._keep_raw:
            return None
        self._raw += part
        if len(self._raw) <= self._limit:
            return None
        self._whole = False
        return Piece(self._take_raw())

    def _between(self, part: bytes) -> Piece | None:
        """Bytes that belong to no event: nobody has to wait for them."""
        self._whole = True
        if not self._keep_raw:
            return None
        self._raw += part
        return Piece(self._take_raw())

    def _end_event(self) -> Piece:
        data = None if self._lost or not self._data else b"\n".join(self._data)
        piece = Piece(self._take_raw(), data, self._name, self._whole)
        self._whole = True
        self._begin()
        return piece

    def _take_raw(self) -> bytes:
        raw = bytes(self._raw)
        self._raw.clear()
        return raw
