"""What a lane does on a disk that gets full, told as a story; also run as a script on a real one."""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from metering.board import Open
from metering.errors import JournalFull
from metering.journal import Durability, Journal
from metering.lane_making import make_segment
from metering.lanes import LaneFolder
from metering.segments import AUDIT, segment_files
from tests.fakes import FakeClock, usage_record

SEGMENT = 1 << 16
OPEN = 5
PATIENCE_S = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for the lane's thread."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def lets_in(lane: Journal) -> bool:
    return lane.writable


def calls(lane: Journal, numbers: Iterator[int]) -> Iterator[int]:
    """Serve calls until the lane refuses one; the number of each record."""
    while True:
        try:
            slot = lane.begin(Open(f"r-{next(numbers)}", "c", "chat", 1))
        except JournalFull:
            return
        yield lane.append(usage_record("c", tokens_in=1), slot)


def tell(folder: Path, make: Callable[[Path, Path, int, int], object] = make_segment) -> None:
    """The story: the trail goes first, then calls are refused, and later let in again."""
    durability = Durability(fsync="never", segment_bytes=SEGMENT)
    lane = Journal(folder, "lane", 1, durability, FakeClock(), make=make)  # type: ignore[arg-type]
    lane_folder, ids = LaneFolder(folder / "lane"), count(1)
    waiting = [lane.begin(Open(f"open-{n}", "c", "chat", 1)) for n in range(OPEN)]

    # While the ledger keeps up there is always room: the audit trail gives way.
    written = 0
    for written in calls(lane, ids):
        lane.tail.retire(0, written)
        if written % 100 == 0:
            lane.keep_up()
            until(lambda: lane._next is not None)
        if written == 8000:
            break
    assert written == 8000
    gaps = lane_folder.holdings().gone
    assert gaps, "nothing had to go"
    assert gaps[0].first == 1
    assert lets_in(lane)

    # The ledger stands still: what it lacks is never removed, so calls are refused in the end.
    held = written
    for written in calls(lane, ids):  # noqa: B007  (the last one counts)
        lane.keep_up()
    assert not lets_in(lane)
    assert written > held + 500
    until(lambda: segment_files(lane_folder.path, AUDIT) == [])
    kept = [entry.number for entry in lane_folder.entries(after=held)]
    assert kept == list(range(held + 1, written + 1))

    # Who was let in before is counted.
    for slot in waiting[1:]:
        written = lane.append(usage_record("c", tokens_in=1), slot)

    # The ledger goes on: its part becomes audit trail, and makes room.
    lane.tail.retire(0, written)

    def made() -> bool:
        lane.keep_up()
        return lane._next is not None

    until(made)
    assert lets_in(lane)
    slot = lane.begin(Open("again", "c", "chat", 1))
    assert lane.append(usage_record("c", tokens_in=1), slot) == written + 1
    lane.close()
    sealed = lane_folder.sealed()
    assert sealed is not None
    assert (sealed.end, sealed.records) == (written + 1, written + 1)
    assert sealed.quantities == {"tokens_in": written + 1}
    assert [request.request_id for request in sealed.open] == ["open-0"]


if __name__ == "__main__":
    tell(Path(sys.argv[1]) / "journal")
    sys.stdout.write("told\n")
