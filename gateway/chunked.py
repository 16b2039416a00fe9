"""The chunked transfer coding (RFC 9112 §7.1), read strictly and piece by piece, and written. Pure.

Strictly: a size is 1 to 16 hex digits and below 2^63, nothing stands before or behind it but an
extension, and every line ends in CRLF. Extensions are dropped, trailers are kept apart.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from gateway import trailers
from gateway.errors import BadFraming, Headers

LAST_CHUNK: Final = b"0\r\n\r\n"
MAX_LINE: Final = 4096  # bytes of a size with its extensions and CRLF

_PLAIN_DIGITS: Final = 8  # of a size as it is nearly always written
_SHORT_LINE: Final = 16  # a size alone; what is longer is counted as excess
# Bytes of extensions beyond twice the content, over the whole body: as in Go's net/http, which so
# stops bodies that are almost nothing but extensions (CVE-2023-39326).
_MAX_EXCESS: Final = 16384
_SIZES_REMEMBERED: Final = 1024

_CRLF: Final = b"\r\n"
_PLAIN_LINE: Final = re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]{0,7}")
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_LINE_SO_FAR: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*+)?\r?")

# What comes next.
_SIZE, _DATA, _DATA_END, _TRAILERS, _NOTHING = range(5)


def encode_chunk(data: bytes) -> bytes:
    """The data as one chunk; nothing for no data, since an empty chunk would end the body."""
    return b"".join((_size_line(len(data)), data, _CRLF)) if data else b""


def encode_end(fields: Headers) -> bytes:
    """What ends a chunked body with these trailers."""
    if not fields:
        return LAST_CHUNK
    return b"0\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % field for field in fields])


class Chunked:
    """A chunked body. It holds back an unfinished line or trailer section, and nothing else."""

    __slots__ = ("_excess", "_held", "_left", "_next", "over", "trailers")

    def __init__(self) -> None:
        self.over = False
        self.trailers: Headers = []
        self._next = _SIZE
        self._left = 0  # bytes still to come of the chunk in progress
        self._held = b""
        self._excess = 0

    def plain(self, data: bytes) -> bytes | None:
        """The content of `data` where it is whole chunks, written as `encode_chunk` may write them.

        Such data can go on as it is. None for any other, of which nothing has been taken then.
        """
        if self._next or self._held:  # not where a size is expected
            return None
        line_end = data.find(_CRLF, 1, _PLAIN_DIGITS + 2)
        if line_end > 0:  # one chunk that comes alone is how streams of events arrive
            start = line_end + 2
            end = start + _plain_size(data[:line_end])
            if end == len(data) - 2 and end != start and data.endswith(_CRLF):
                return data[start:end]
        content: list[bytes] = []
        return b"".join(content) if _plain_chunks(data, 0, content) == len(data) > 0 else None

    def closed(self) -> bool:
        """The connection was closed. Whether the message is whole."""
        return self.over

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in `data`, and what stands behind the end of the message.

        Raises BadFraming, which has the content that stood before the trouble.
        """
        if self._held:
            data, self._held = self._held + data, b""
        content: list[bytes] = []
        at = 0
        try:
            while self._next != _NOTHING:
                if self._next == _SIZE:
                    at = _plain_chunks(data, at, content)
                after = _STEPS[self._next](self, data, at, content)
                if after < 0:
                    break
                at = after
        except BadFraming as error:
            error.content = b"".join(content)
            raise
        rest = data[at:]
        if not self.over:
            self._held, rest = rest, b""
        return content[0] if len(content) == 1 else b"".join(content), rest

    # One step each: the place behind what was taken, -1 when it takes more data.

    def _take_size(self, data: bytes, at: int, _content: list[bytes]) -> int:
        if data.startswith(LAST_CHUNK, at):
            return self._end(at + len(LAST_CHUNK))
        line_end = data.find(_CRLF, at, at + MAX_LINE)
        if line_end < 0:
            so_far = len(data) - at
            if so_far and not (so_far < MAX_LINE and _LINE_SO_FAR.fullmatch(data, at)):
                raise BadFraming("a chunk's size is malformed")
            return -1
        line = data[at:line_end]
        self._left = _parse_size(line)
        if len(line) > _SHORT_LINE:
            self._excess = max(0, self._excess + len(line) - _SHORT_LINE - 2 * self._left)
            if self._excess > _MAX_EXCESS:
                raise BadFraming("more chunk extensions than content")
        self._next = _DATA if self._left else _TRAILERS
        return line_end + 2

    def _take_data(self, data: bytes, at: int, content: list[bytes]) -> int:
        piece = data[at : at + self._left]
        if not piece:
            return -1
        content.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._next = _DATA_END
        return at + len(piece)

    def _take_data_end(self, data: bytes, at: int, _content: list[bytes]) -> int:
        mark = data[at : at + 2]
        if not _CRLF.startswith(mark):
            raise BadFraming("a chunk is longer than its size")
        if len(mark) < 2:
            return -1
        self._next = _SIZE
        return at + 2

    def _take_trailers(self, data: bytes, at: int, _content: list[bytes]) -> int:
        if data.startswith(_CRLF, at):
            return self._end(at + 2)
        found = data.find(b"\r\n\r\n", at, at + trailers.MAX_BYTES)
        if found < 0:
            trailers.check_so_far(data[at:])
            return -1
        self.trailers = trailers.parse(data[at:found])
        return self._end(found + 4)

    def _end(self, at: int) -> int:
        self._next = _NOTHING
        self.over = True
        return at


_STEPS: Final[dict[int, Callable[[Chunked, bytes, int, list[bytes]], int]]] = {
    _SIZE: Chunked._take_size,  # noqa: SLF001 - the machine's own table
    _DATA: Chunked._take_data,  # noqa: SLF001
    _DATA_END: Chunked._take_data_end,  # noqa: SLF001
    _TRAILERS: Chunked._take_trailers,  # noqa: SLF001
}


def _plain_chunks(data: bytes, at: int, content: list[bytes]) -> int:
    """The tight loop: take the chunks that are wholly there, as long as their size lines are plain."""
    find, starts, size, take = data.find, data.startswith, _plain_size, content.append
    while True:
        line_end = find(_CRLF, at, at + _PLAIN_DIGITS + 2)
        if line_end < 0:
            return at
        start = line_end + 2
        end = start + size(data[at:line_end])
        if end == start or not starts(_CRLF, end):
            return at
        take(data[start:end])
        at = end + 2


def _parse_size(line: bytes) -> int:
    match = _LINE.fullmatch(line)
    size = int(match[1], 16) if match is not None else -1
    if not 0 <= size < 2**63:
        raise BadFraming("a chunk's size is malformed")
    return size


# Sizes repeat; only lines of at most _PLAIN_DIGITS bytes come here, so this stays small.
@lru_cache(_SIZES_REMEMBERED)
def _plain_size(line: bytes) -> int:
    """0 for a line that is none, has an extension or a leading zero, or is malformed."""
    return int(line, 16) if _PLAIN_LINE.fullmatch(line) else 0


@lru_cache(_SIZES_REMEMBERED)
def _size_line(size: int) -> bytes:
    return b"%x\r\n" % size
