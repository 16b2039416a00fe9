"""Makes new lanes and segments; when the disk is full the audit trail gives way.

A lane is made under a name with a dot: 1 the folder, 2 its lock, 3 board and first segment,
4 lane.json, 5 the rename that makes it a lane. Killed in between it is a folder that nobody reads,
which the retention removes.
"""

import errno
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from metering import retention
from metering.board import Board
from metering.errors import JournalFull
from metering.footers import Footer
from metering.lanes import BOARD, INFO, LOCK, UNFINISHED, LaneFolder, LaneInfo
from metering.local_disk import refuse_network_disk
from metering.locks import try_lock
from metering.segments import SegmentWriter, path_of, sync

T = TypeVar("T")
# As make_segment: the folder of all lanes, the lane's, the number and the bytes.
MakeSegment = Callable[[Path, Path, int, int], SegmentWriter]


@dataclass(frozen=True)
class MadeLane:
    """A new lane and what its owner holds of it."""

    lane: LaneFolder
    lock: int
    board: Board
    segment: SegmentWriter


def make_lane(
    journal: Path, lane_id: str, partitions: int, segment_bytes: int, now_ms: int
) -> MadeLane:
    """A lane of this process. Raises JournalFull when the disk is full, StoreUnsuitable for a network disk, and
    OSError.
    """
    journal.mkdir(parents=True, exist_ok=True, mode=0o700)
    refuse_network_disk(journal)
    info = LaneInfo(lane_id, partitions, socket.gethostname(), os.getpid(), now_ms)
    return with_room(journal, lambda: _make(journal, info, segment_bytes))


def make_segment(journal: Path, lane: Path, number: int, segment_bytes: int) -> SegmentWriter:
    """One segment more. Raises JournalFull when the disk is full, and OSError."""
    return with_room(journal, lambda: SegmentWriter.create(path_of(lane, number), segment_bytes))


def with_room(journal: Path, make: Callable[[], T]) -> T:
    """What `make` makes, after as much of the audit trail went as it takes."""
    while True:
        try:
            return make()
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not retention.make_room(journal):
                raise JournalFull(
                    f"the disk that holds {journal} is full; free some space"
                ) from problem


def _make(journal: Path, info: LaneInfo, segment_bytes: int) -> MadeLane:
    draft = journal / f"{UNFINISHED}{info.lane}"
    draft.mkdir(mode=0o700)
    lock: int | None = None
    board: Board | None = None
    segment: SegmentWriter | None = None
    try:
        lock = try_lock(draft / LOCK)
        board = Board(draft / BOARD)
        segment = SegmentWriter.create(path_of(draft, 1), segment_bytes)
        segment.begin(info.lane, info.partitions, Footer())
        (draft / INFO).write_bytes(msgspec.json.encode(info))
        sync(draft / INFO)
        sync(draft)
        final = journal / info.lane
        draft.rename(final)
        sync(journal)
    except BaseException:
        _undo(draft, lock, board, segment)
        raise
    segment.path = path_of(final, 1)
    assert lock is not None  # noqa: S101  (nobody else knows the folder)
    return MadeLane(LaneFolder(final), lock, board, segment)


def _undo(
    draft: Path, lock: int | None, board: Board | None, segment: SegmentWriter | None
) -> None:
    for opened in (board, segment):
        if opened is not None:
            opened.close()
    shutil.rmtree(draft, ignore_errors=True)
    if lock is not None:
        os.close(lock)
