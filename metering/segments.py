"""The files of a lane: preallocated, memory-mapped, appended to until full, then closed by a footer.

A segment is `<number>.segment` until everything in it stands in the ledger, then `<number>.audit`.
Its first 64 bytes say whose it is; they are written when it comes into use, so a segment that was
only made ahead reads as empty. Its first entry says what the lane held before it: where the
retention took segments away, what they held is still known.
"""

import mmap
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from metering import records_on_disk as codec
from metering.allocation import allocate, read_through
from metering.footers import Footer, footer_room
from metering.quantities import Quantities, Tally, compact
from metering.records_on_disk import Form
from metering.usage import UsageRecord

SEGMENT_BYTES: Final = 8 << 20
LIVE: Final = ".segment"
AUDIT: Final = ".audit"
HEADER: Final = struct.Struct("<8s32sQI")
HEADER_BYTES: Final = 64
FOOTER_AT: Final = 56  # where in the header the footer's offset stands, 0 before there is one
MAGIC: Final = b"TALLY\0\0\1"


def path_of(folder: Path, number: int, kind: str = LIVE) -> Path:
    """Where a lane's segment lies."""
    return folder / f"{number:08d}{kind}"


def segment_files(folder: Path, *kinds: str) -> list[Path]:
    """The lane's segments of these kinds (default: all), in order. Gone folders have none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    wanted = kinds or (LIVE, AUDIT)
    return sorted(
        (folder / name for name in names if name.endswith(tuple(wanted)) and name[:8].isdigit()),
        key=lambda path: path.name[:8],
    )


@dataclass
class SegmentWriter:
    """One segment that is being written. One event loop owns it; its files' thread may sync it."""

    path: Path
    handle: int
    size: int
    _footer: Footer = field(default_factory=Footer)

    def __post_init__(self) -> None:
        self._tally = Tally()
        self._map = mmap.mmap(self.handle, self.size)
        self._view = memoryview(self._map)
        self._at = self._first_at = HEADER_BYTES
        self._partitions = 0
        self._footer_room = 0
        self.room = self.size - self._at  # bytes left for records

    @classmethod
    def create(cls, path: Path, size: int) -> "SegmentWriter":
        """Make the file with all its blocks. Raises OSError; then there is no file."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate(handle, size)
            os.fsync(handle)
            sync(path.parent)
            read_through(handle, size)
            return cls(path, handle, size)
        except BaseException:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise

    def begin(self, lane_id: str, partitions: int, before: Footer) -> None:
        """Take it into use; `before` is what the lane holds already. The header comes last."""
        self._partitions = partitions
        self._footer_room = footer_room(partitions, ())
        content = msgspec.json.encode(before)
        self._at = codec.write_entry(self._view, self._at, codec.START, content)
        self._first_at = self._at
        self.room = self.size - self._at - self._footer_room
        header = HEADER.pack(MAGIC, lane_id.encode(), self.number, partitions)
        self._view[: len(header) + 4] = header + zlib.crc32(header).to_bytes(4, "little")

    @property
    def number(self) -> int:
        return int(self.path.name[:8])

    @property
    def largest(self) -> int:
        """Bytes of the largest record that fits into the next segment, which begins with more."""
        more = 1024 + 32 * self._partitions
        return self.size - self._first_at - more - self._footer_room

    @property
    def footer(self) -> Footer:
        """What it holds until now."""
        self._footer.quantities = self._tally.by_meter()
        return self._footer

    def append(self, number: int, partition: int, record: UsageRecord) -> None:
        """Write the record; the caller has made sure that there is room."""
        self.append_as(codec.form_of(record), number, partition, record)

    def append_as(self, form: Form, number: int, partition: int, record: UsageRecord) -> None:
        """As `append`, right behind `form_of`."""
        self._at = codec.write_record(form, self._view, self._at, number, record)
        self.room -= form.size
        footer = self._footer
        if not footer.first_ms:
            footer.first_ms = record.time_ms
        footer.last_ms = record.time_ms
        footer.last_number = footer.last[partition] = number
        footer.records += 1
        quantities = record.quantities
        if type(quantities) is not Quantities:
            quantities = compact(quantities)
        if self._tally.add(quantities):
            self._footer_room = footer_room(self._partitions, self._tally.by_meter())
            self.room = self.size - self._at - self._footer_room

    def finish(self) -> None:
        """Write the footer: nothing more is appended."""
        content = msgspec.json.encode(self.footer)
        codec.write_entry(self._view, self._at, codec.FOOTER, content)
        self._view[FOOTER_AT : FOOTER_AT + 8] = self._at.to_bytes(8, "little")

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self.handle >= 0:
            self._view.release()
            self._map.close()
            os.close(self.handle)
            self.handle = -1


def to_audit(path: Path) -> None:
    """The ledger holds all of it. Raises OSError."""
    path.rename(path.with_suffix(AUDIT))


def replace(path: Path, content: bytes) -> None:
    """Write the file anew, so that a kill leaves the old or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file durable, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
