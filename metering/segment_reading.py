"""Reads segments, also while their owner writes, renames or the retention removes them."""

import mmap
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from metering import records_on_disk as codec
from metering.footers import Footer
from metering.records_on_disk import Decoder
from metering.segments import (
    AUDIT,
    FOOTER_AT,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    replace,
)
from metering.usage import UsageRecord


class SegmentReader:
    """Reads one segment, also while it is being written: up to the last whole record."""

    def __init__(self, path: Path, decoder: Decoder | None = None) -> None:
        self.path = path
        self.number = int(path.name[:8])
        self._decoder = decoder or Decoder()

    def records(self) -> Iterator[tuple[int, UsageRecord]]:
        """Number and record of every entry, in order. Ends at a torn one. Raises FileNotFoundError."""
        with _mapped(self.path) as view:
            for _, body in codec.bodies(view, HEADER_BYTES, len(view)):
                if body[0] == codec.START:
                    continue
                if body[0] != codec.USAGE:
                    return
                yield self._decoder.read(body)

    def trim(self) -> None:
        """Give back what was never written. Nobody may write to it any more. Raises OSError.

        A shorter copy takes its place: whoever is just reading a file that is cut gets a SIGBUS.
        """
        with _mapped(self.path) as view:
            whole = codec.bodies(view, HEADER_BYTES, len(view))
            used = max((behind for behind, _ in whole), default=HEADER_BYTES)
            if used + mmap.PAGESIZE < len(view):
                written = self.path.stat()
                replace(self.path, view[:used])
                os.utime(self.path, ns=(written.st_atime_ns, written.st_mtime_ns))

    def before(self) -> Footer:
        """What the lane held before it. Raises FileNotFoundError."""
        with _mapped(self.path) as view:
            return _said(view, HEADER_BYTES, codec.START) or Footer()

    def footer(self) -> Footer | None:
        """Its footer; None while it has none. Raises FileNotFoundError."""
        with _mapped(self.path) as view:
            at = int.from_bytes(view[FOOTER_AT : FOOTER_AT + 8], "little")
            return _said(view, at, codec.FOOTER) if at >= HEADER_BYTES else None

    def mentions(self, text: bytes) -> bool:
        """Whether the bytes occur anywhere in it: quick, and true where a record holds them."""
        with _mapped(self.path) as view:
            return view.find(text) >= 0

    def latest(self, text: bytes) -> Iterator[tuple[int, UsageRecord]]:
        """Number and record of the entries that hold these bytes, newest first.

        All others are passed over unread. Raises FileNotFoundError.
        """
        with _mapped(self.path) as view:
            if view.rfind(text) < HEADER_BYTES:
                return
            *starts, end = codec.starts(view, HEADER_BYTES, len(view))
            while (found := view.rfind(text, HEADER_BYTES, end)) >= 0:
                end = starts[bisect_right(starts, found) - 1]
                for _, body in islice(codec.bodies(view, end, len(view)), 1):
                    if body[0] == codec.USAGE:
                        yield self._decoder.read(body)


def _said(view: mmap.mmap | bytes, at: int, kind: int) -> Footer | None:
    """The entry of that kind that stands there; None where there is no such thing."""
    for _, body in codec.bodies(view, at, len(view)):
        if body[0] == kind:
            with suppress(msgspec.MsgspecError):
                return msgspec.json.decode(body[1:], type=Footer)
        break
    return None


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The segment's bytes; none of a file that was only made ahead, or is no segment.

    Raises FileNotFoundError when it is gone, also under the name that the audit trail gives it.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size < HEADER_BYTES:
            yield b""
            return
        with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as view:
            header = view[: HEADER.size]
            crc = int.from_bytes(view[HEADER.size : HEADER.size + 4], "little")
            sound = header.startswith(MAGIC) and crc == zlib.crc32(header)
            yield view if sound else b""


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return path.with_suffix(AUDIT).open("rb")
