"""Keeps the audit trail within its days and bytes; drops it first when the disk runs short.

Only segments whose every record stands in the ledger are ever removed.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import MsgspecError

from metering.lanes import LOCK, UNFINISHED, lanes_in
from metering.locks import try_lock
from metering.segments import AUDIT, segment_files

_DAY_MS: Final = 86_400_000
_UNFINISHED_MS: Final = 600_000


class Kept(NamedTuple):
    """One segment of the audit trail. `at` is when it was written last, UTC ms."""

    path: Path
    at: int
    size: int


def surplus(kept: Sequence[Kept], *, now_ms: int, days: int, max_bytes: int) -> list[Kept]:
    """Which segments go: those older than `days`, then the oldest until the rest fits. Pure."""
    oldest_first = sorted(kept, key=lambda segment: segment.at)
    total = sum(segment.size for segment in kept)
    gone = []
    for segment in oldest_first:
        if segment.at >= now_ms - days * _DAY_MS and total <= max_bytes:
            break
        gone.append(segment)
        total -= segment.size
    return gone


def prune(journal: Path, *, now_ms: int, days: int, max_bytes: int) -> int:
    """Remove what is too much; how many segments. What another process removed is passed over."""
    gone = surplus(_audit_trail(journal), now_ms=now_ms, days=days, max_bytes=max_bytes)
    for segment in gone:
        segment.path.unlink(missing_ok=True)
    _remove_empty_lanes(journal, now_ms - days * _DAY_MS)
    _remove_unfinished(journal, now_ms)
    return len(gone)


def make_room(journal: Path) -> bool:
    """The disk is full: remove the oldest segment of the audit trail. False without any."""
    trail = sorted(_audit_trail(journal), key=lambda segment: segment.at)
    for segment in trail[:1]:
        segment.path.unlink(missing_ok=True)
    return bool(trail)


def _audit_trail(journal: Path) -> list[Kept]:
    found = []
    for lane in lanes_in(journal):
        with suppress(OSError):  # not ours to look at, or gone just now
            for path in segment_files(lane.path, AUDIT):
                with suppress(FileNotFoundError):
                    said = path.stat()
                    found.append(Kept(path, said.st_mtime_ns // 1_000_000, said.st_size))
    return found


def _remove_empty_lanes(journal: Path, before_ms: int) -> None:
    """Lanes retired long ago without any audit trail left; their sums are no longer asked for."""
    for lane in lanes_in(journal):
        with suppress(OSError, MsgspecError):
            sealed = lane.sealed()
            if sealed is not None and sealed.at < before_ms and not segment_files(lane.path):
                _remove(lane.path)


def _remove_unfinished(journal: Path, now_ms: int) -> None:
    """Folders of processes that died while they made or removed them: nobody reads them."""
    for folder in journal.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            if folder.stat().st_mtime_ns // 1_000_000 < now_ms - _UNFINISHED_MS:
                _remove(folder)


def _remove(folder: Path) -> None:
    """Under a name with a dot first: nobody sees half a lane. Raises OSError."""
    handle = try_lock(folder / LOCK)
    if handle is None:
        return
    try:
        unseen = folder
        if not folder.name.startswith(UNFINISHED):
            unseen = folder.rename(folder.with_name(f"{UNFINISHED}{folder.name}"))
        shutil.rmtree(unseen, ignore_errors=True)
    finally:
        os.close(handle)
