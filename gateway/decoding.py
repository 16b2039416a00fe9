"""How the bytes of a body are labelled and packed: media types, and content codings undone for
reading only (RFC 9110 §8.3, §8.4). Pure.
"""

import zlib
from collections.abc import Generator, Iterator
from typing import Final

# A bomb of 64 KiB unpacks to 64 MiB; the longest honest stream of events is below that.
MAX_DECODED: Final = 64 * 1024 * 1024
_PIECE: Final = 64 * 1024
_SLICE: Final = (
    16 * 1024
)  # many tiny gzip members would otherwise copy a long chunk again and again

_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_GZIP_START: Final = b"\x1f"
_GZIP_NAMES: Final = frozenset({b"gzip", b"x-gzip"})


class Unreadable(Exception):
    """A body that cannot be read: coding unknown, bytes broken, or too much of it."""


def media_type(content_type: bytes) -> bytes:
    """The media type of a Content-Type, lower case, without parameters."""
    return content_type.partition(b";")[0].strip().lower()


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type says JSON: application/json or a structured syntax suffix +json."""
    kind = media_type(content_type)
    return kind == b"application/json" or kind.endswith(b"+json")


def is_event_stream(content_type: bytes) -> bool:
    """Whether a Content-Type says server-sent events."""
    return media_type(content_type) == b"text/event-stream"


def inflater(content_encoding: bytes) -> "Inflater | None":
    """What undoes a Content-Encoding; None for identity. Raises Unreadable for one it does not know."""
    coding = content_encoding.strip().lower()
    if coding in (b"", b"identity"):
        return None
    if coding in _GZIP_NAMES:
        return Inflater(_GZIP)
    if coding == b"deflate":
        return Inflater(None)
    raise Unreadable("unknown content coding")


class Inflater:
    """Unpacks gzip (of any number of members) or deflate (zlib's, or the raw kind some servers send).

    `wbits` is zlib's; None leaves it to the first two bytes.
    """

    def __init__(self, wbits: int | None) -> None:
        self._wbits = wbits
        self._stream: zlib._Decompress | None = None  # the member in progress
        self._head = b""  # of the next member, until there is enough to tell what it is
        self._budget = MAX_DECODED
        self._over = False  # what follows the last member is padding or garbage
        self.whole = False  # a member has ended and no other has begun

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpacked bytes, in pieces of at most 64 KiB. Raises Unreadable if broken or too much."""
        for start in range(0, len(chunk), _SLICE):
            rest = chunk[start : start + _SLICE]
            while rest and not self._over:
                rest = yield from self._inflate(rest)

    def _inflate(self, packed: bytes) -> Generator[bytes, None, bytes]:
        """Unpacks up to the end of a member or of the input; returns what stands behind the member."""
        if self._stream is None:
            packed, self._stream = self._open(packed)
        while self._stream is not None:
            try:
                piece = self._stream.decompress(packed, _PIECE)
            except zlib.error as error:
                raise Unreadable("broken content coding") from error
            self._budget -= len(piece)
            if self._budget < 0:
                raise Unreadable("unpacks to too much")
            if piece:
                yield piece
            packed = self._stream.unconsumed_tail
            if self._stream.eof:
                return self._close(self._stream)
            if not packed and len(piece) < _PIECE:
                break
        return b""

    def _open(self, packed: bytes) -> tuple[bytes, "zlib._Decompress | None"]:
        """Begins a member if its head has come: the bytes to start with, and what unpacks them."""
        if self._wbits == _GZIP:
            packed = packed.lstrip(b"\0") if self.whole else packed  # padding between members
            self._over = self.whole and bool(packed) and not packed.startswith(_GZIP_START)
            if self._over or not packed:
                return b"", None
        else:
            packed = self._head + packed
            self._head = packed[:1]
            if len(packed) < 2:
                return b"", None
            self._wbits = _ZLIB if _looks_like_zlib(packed) else _RAW
        self.whole = False
        return packed, zlib.decompressobj(self._wbits)

    def _close(self, stream: "zlib._Decompress") -> bytes:
        self._stream = None
        self.whole = True
        self._over = self._wbits != _GZIP
        return stream.unused_data


def _looks_like_zlib(head: bytes) -> bool:
    """RFC 1950 §2.2: method 8, and the first two bytes are a multiple of 31."""
    return head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
