"""A worker's counters on a page of their own: a small mapped file that outlives it.

Two halves are written in turn, each with a number and a checksum; who reads takes the newest that is
whole. So a kill at any moment leaves what was published last or before, and a scrape never
waits for a worker. Numbers that one scrape showed stand on the page: a later one cannot show less.
"""

import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.series import Family
from metering.allocation import allocate
from metering.locks import is_locked, try_lock

log = logging.getLogger("tallygate.gateway")

SUFFIX: Final = ".page"
_HALF: Final = 512 << 10
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sHxxQII")  # magic, version, turn, length, checksum of the rest
_MAGIC: Final = b"TGMP"
_TRIES: Final = 3  # a half may be written anew while it is read
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Family]).decode


class Page:
    """The page of this worker, locked for as long as it lives. Raises OSError when there is no room."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"{name}{SUFFIX}"
        draft = folder / f"{name}.draft"  # gets its name with its lock, so nobody takes it for dead
        lock = try_lock(draft)
        if lock is None:
            raise OSError(f"{draft} is locked")
        self._lock: int | None = lock
        try:
            allocate(lock, 2 * _HALF)
            self._map = mmap.mmap(lock, 2 * _HALF)
            draft.rename(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            os.close(lock)
            raise
        self._turn = 0
        self.overflows = 0  # times there was more than fits

    def publish(self, families: list[Family]) -> None:
        """Show these from now on. What does not fit leaves the page as it was."""
        if self._lock is None:
            return
        content = _encode(families)
        if len(content) > _HALF - _HEAD.size:
            if not self.overflows:
                log.error("%d bytes of metrics do not fit into %s", len(content), self.path.name)
            self.overflows += 1
            return
        self._turn += 1
        start = self._turn % 2 * _HALF
        checksum = zlib.crc32(content, self._turn & 0xFFFFFFFF)
        self._map[start + _HEAD.size : start + _HEAD.size + len(content)] = content
        _HEAD.pack_into(self._map, start, _MAGIC, _VERSION, self._turn, len(content), checksum)

    def close(self) -> None:
        """Let go of it; it stays, as that of a dead worker. May be called twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self._map.close()
            os.close(lock)


def pages(folder: Path) -> list[Path]:
    """The pages of all workers, in the order of their names."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def lives(path: Path) -> bool:
    """Whether the worker of a page is there."""
    try:
        return is_locked(path)
    except OSError:
        return False


def read(path: Path) -> list[Family]:
    """What a page says; nothing where it says nothing that can be read."""
    for _ in range(_TRIES):
        try:
            raw = path.read_bytes()
        except OSError:
            return []
        for content in _newest_first(raw):
            with suppress(msgspec.DecodeError, msgspec.ValidationError):
                return _decode(content)
        if not any(raw):
            return []
    return []


def _newest_first(raw: bytes) -> Iterator[bytes]:
    halves = []
    for start in range(0, len(raw), _HALF):
        with suppress(struct.error):
            magic, version, turn, length, checksum = _HEAD.unpack_from(raw, start)
            content = raw[start + _HEAD.size : start + _HEAD.size + length]
            whole = len(content) == length and zlib.crc32(content, turn & 0xFFFFFFFF) == checksum
            if magic == _MAGIC and version == _VERSION and turn and whole:
                halves.append((turn, content))
    for _, content in sorted(halves, reverse=True):
        yield content
