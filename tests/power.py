"""What a dead process, or a power cut, leaves of a lane on the disk."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from metering import records_on_disk as codec
from metering.journal import Journal
from metering.lanes import BOARD, LaneFolder
from metering.records_on_disk import HEAD, Decoder
from metering.segments import FOOTER_AT, HEADER_BYTES, segment_files

_BOARD_BYTES = 4096 + 64 * 512  # the slots that are used first


def rest(lane: Journal) -> None:
    """Return when the lane's thread has done what it was given."""
    done = threading.Event()
    lane._upkeep.submit(done.set)
    assert done.wait(20)


def abandon(lane: Journal) -> None:
    """Its process dies: the files are closed as they are, the lock is free."""
    lane._upkeep.stop()
    for segment in (lane._segment, lane._next):
        if segment is not None:
            segment.close()
    lane._board.close()
    assert lane._lock is not None
    os.close(lane._lock)
    lane._lock = None


def board_of(lane: LaneFolder) -> bytes:
    """The slots as they stand now."""
    with (lane.path / BOARD).open("rb") as file:
        return file.read(_BOARD_BYTES)


def restore_board(lane: LaneFolder, content: bytes) -> None:
    """As they stood then."""
    with (lane.path / BOARD).open("r+b") as file:
        file.write(content)


def numbers(path: Path) -> list[int]:
    """The records in a segment."""
    return [number for number, _, _ in _records(path.read_bytes())]


def forget_after(lane: LaneFolder, end: int, *, hole: bool) -> None:
    """Lose the records numbered above `end`; with a hole only the first of them."""
    for path in segment_files(lane.path):
        content = bytearray(path.read_bytes())
        lost = [(start, behind) for number, start, behind in _records(content) if number > end]
        if hole:
            first = [(s, b) for number, s, b in _records(content) if number == end + 1]
            for start, behind in first:
                content[start:behind] = bytes(behind - start)
        elif lost:
            all_of_it = len(lost) == len(numbers(path))
            start = 0 if all_of_it and end else lost[0][0]
            content[start:] = bytes(len(content) - start)
            content[FOOTER_AT : FOOTER_AT + 8] = bytes(8)
        with path.open("r+b") as file:
            file.write(content)


def _records(content: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of every record."""
    raw = bytes(content)
    for behind, body in codec.bodies(raw, HEADER_BYTES, len(raw)):
        if body[0] == codec.USAGE:
            yield Decoder().read(body)[0], behind - len(body) - HEAD.size, behind
