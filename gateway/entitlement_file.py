"""The last snapshots of all customers on disk, for a worker that starts while Redis is away.

One worker of a host writes, the one that holds the lock. The order, and what a kill leaves behind:

1. a draft is written and synced   the old file; the next writer writes over the draft
2. it takes the file's place       the new file, or after a power cut the old one
3. the folder is synced            the new file

The file's own time is when its writer heard last that nothing else is true.
"""

import os
import stat
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from metering.entitlement import EntitlementSnapshot, to_json
from metering.entitlements import readable
from metering.locks import try_lock

NAME: Final = "entitlements.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 30
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class FileUnusable(Exception):
    """The file holds nothing that may be believed; the text says why."""


class Kept(NamedTuple):
    """What was read; it was right at `heard_ms` (UTC)."""

    snapshots: list[EntitlementSnapshot]
    heard_ms: int


class _Document(msgspec.Struct):
    format: int
    installation: str
    crc32: int  # of the text of `customers`
    customers: msgspec.Raw


class EntitlementFile:
    """`folder/entitlements.json`, readable by its owner only.

    `installation` tells one installation's file from another's: keys are only known by digests that
    its secret makes. Every method blocks.
    """

    def __init__(self, folder: Path, installation: str) -> None:
        self.path = folder / NAME
        self._draft = folder / f".{NAME}.draft"
        self._lock_path = folder / f".{NAME}.lock"
        self._installation = installation
        self._lock: int | None = None

    def read(self) -> Kept:
        """Raises FileUnusable or OSError, FileNotFoundError without a file among them."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > _MAX_BYTES:
                raise FileUnusable(f"it is larger than {_MAX_BYTES} bytes")
            if found.st_mode & _OTHERS_MAY_WRITE:
                raise FileUnusable("others than its owner may write it")
            text = file.read()
        return Kept(self._believed(text), found.st_mtime_ns // 1_000_000)

    def _believed(self, text: bytes) -> list[EntitlementSnapshot]:
        try:
            document = msgspec.json.decode(text, type=_Document)
            each = msgspec.json.decode(document.customers, type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise FileUnusable("it is torn, or none of ours") from error
        if document.format != _FORMAT:
            raise FileUnusable(f"its format is {document.format}, not {_FORMAT}")
        if document.installation != self._installation:
            raise FileUnusable("another installation wrote it")
        if document.crc32 != zlib.crc32(document.customers):
            raise FileUnusable("its checksum does not fit")
        snapshots = [readable(bytes(raw)) for raw in each]
        if None in snapshots:
            raise FileUnusable("a customer in it cannot be read")
        return [snapshot for snapshot in snapshots if snapshot is not None]

    def write(self, snapshots: Iterable[EntitlementSnapshot], heard_ms: int) -> bool:
        """Put what was right at `heard_ms` in place of what stands there. Raises OSError.

        False if another process writes.
        """
        if not self._mine():
            return False
        customers = b"[" + b",\n".join(to_json(each).encode() for each in snapshots) + b"]"
        document = _Document(
            _FORMAT, self._installation, zlib.crc32(customers), msgspec.Raw(customers)
        )
        try:
            self._write_draft(msgspec.json.encode(document), heard_ms)
            os.replace(self._draft, self.path)
        except OSError:
            with suppress(OSError):
                self._draft.unlink()
            raise
        self._settle()
        return True

    def still_so(self, heard_ms: int) -> None:
        """What we wrote last is right until then."""
        if self._lock is not None:
            with suppress(OSError):  # who starts from it takes it for older
                os.utime(self.path, ns=_ns(heard_ms))

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _mine(self) -> bool:
        if self._lock is None:
            self._lock = try_lock(self._lock_path)
        return self._lock is not None

    def _write_draft(self, text: bytes, heard_ms: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._draft, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever a draft that was left behind had
            file.write(text)
            file.flush()
            os.utime(file.fileno(), ns=_ns(heard_ms))
            os.fsync(file.fileno())

    def _settle(self) -> None:
        """A name is on the disk once its folder is."""
        handle = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _ns(time_ms: int) -> tuple[int, int]:
    return time_ms * 1_000_000, time_ms * 1_000_000
