"""Content codings undone for reading only, in bounded pieces: gzip, deflate (RFC 9110 §8.4.1), br
(RFC 7932) and zstd (RFC 8878). Pure.
"""

import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Final

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A bomb of 64 KiB unpacks to 64 MiB; the longest honest stream of events is below that.
MAX_DECODED: Final = 64 * 1024 * 1024
_PIECE: Final = 64 * 1024
_SLICE: Final = (
    16 * 1024
)  # many tiny gzip members would otherwise copy a long chunk again and again

GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_GZIP_START: Final = b"\x1f"
_BROTLI_PIECE: Final = 32 * 1024  # it stops at the first block past this, at most twice as far
# RFC 9659 §3: what is sent over HTTP needs no larger a window than 8 MiB.
_ZSTD_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}


class Unreadable(Exception):
    """A body that cannot be read: coding unknown, bytes broken, or too much of it."""


class Unpacker(ABC):
    """Takes packed bytes in any pieces. `whole`: what came ended where it should."""

    def __init__(self) -> None:
        self._budget = MAX_DECODED
        self.whole = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpacked bytes, in pieces of at most 64 KiB. Raises Unreadable if broken or too much."""
        for start in range(0, len(chunk), _SLICE):
            for piece in self._pieces(chunk[start : start + _SLICE]):
                for at in range(0, len(piece), _PIECE):
                    part = piece[at : at + _PIECE]
                    self._budget -= len(part)
                    if self._budget < 0:
                        raise Unreadable("unpacks to too much")
                    yield part

    @abstractmethod
    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        """What this unpacks to, little by little. Raises Unreadable."""


class Inflater(Unpacker):
    """Unpacks gzip (of any number of members) or deflate (zlib's, or the raw kind some servers send).

    `wbits` is zlib's; None leaves it to the first two bytes.
    """

    def __init__(self, wbits: int | None) -> None:
        super().__init__()
        self._wbits = wbits
        self._stream: zlib._Decompress | None = None  # the member in progress
        self._head = b""  # of the next member, until there is enough to tell what it is
        self._over = False  # what follows the last member is padding or garbage

    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self._over:
            packed = yield from self._inflate(packed)

    def _inflate(self, packed: bytes) -> Generator[bytes, None, bytes]:
        """Unpacks up to the end of a member or of the input; returns what stands behind the member."""
        if self._stream is None:
            packed, self._stream = self._open(packed)
        while self._stream is not None:
            try:
                piece = self._stream.decompress(packed, _PIECE)
            except zlib.error as error:
                raise Unreadable("broken content coding") from error
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
        if self._wbits == GZIP:
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
        self._over = self._wbits != GZIP
        return stream.unused_data


class Unbrotli(Unpacker):
    """Unpacks br: one stream, and nothing behind it."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = brotli.Decompressor()

    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        if self.whole:
            raise Unreadable("more than its content coding holds")
        while not self.whole:
            try:
                piece = self._stream.process(packed, output_buffer_limit=_BROTLI_PIECE)
            except brotli.error as error:
                raise Unreadable("broken content coding") from error
            packed = b""  # it keeps what it has not read yet
            if piece:
                yield piece
            self.whole = self._stream.is_finished()
            if not piece and self._stream.can_accept_more_data():
                break


class Unzstd(Unpacker):
    """Unpacks zstd, of any number of frames, skippable ones among them."""

    def __init__(self) -> None:
        super().__init__()
        self._frame: zstd.ZstdDecompressor | None = None

    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        while packed or self._frame is not None:
            if self._frame is None:
                self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
                self.whole = False
            frame = self._frame
            try:
                piece = frame.decompress(packed, _PIECE)
            except zstd.ZstdError as error:
                raise Unreadable("broken content coding") from error
            packed = b""  # it keeps what it has not read yet
            if piece:
                yield piece
            if frame.eof:
                packed, self._frame, self.whole = frame.unused_data, None, True
            elif frame.needs_input:
                break


def _looks_like_zlib(head: bytes) -> bool:
    """RFC 1950 §2.2: method 8, and the first two bytes are a multiple of 31."""
    return head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
