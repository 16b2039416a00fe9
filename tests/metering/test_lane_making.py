"""A lane is there whole or not at all, and a full disk is told from a broken one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.errors import JournalFull
from metering.journal import Journal
from metering.lane_making import make_lane, make_segment, with_room
from metering.lanes import BOARD, INFO, LOCK, LaneFolder, State, lanes_in
from metering.locks import try_lock
from metering.sealing import retire, seal
from metering.segments import segment_files
from tests.fakes import usage_record

NewLane = Callable[..., Journal]


def test_a_new_lane_is_whole_and_ours(tmp_path: Path) -> None:
    """Locked, empty, with board and first segment, for nobody else to read."""
    made = make_lane(tmp_path / "journal", "lane", 4, 1 << 15, 77)
    folder = LaneFolder(tmp_path / "journal" / "lane")
    assert made.lane == folder
    assert folder.state() is State.LIVE
    info = folder.info()
    assert (info.lane, info.partitions, info.pid, info.made_at) == ("lane", 4, os.getpid(), 77)
    assert {path.name for path in folder.path.iterdir()} == {LOCK, INFO, BOARD, "00000001.segment"}
    assert made.segment.path.exists()
    assert folder.path.stat().st_mode & 0o077 == 0
    assert folder.path.parent.stat().st_mode & 0o077 == 0
    made.segment.close()
    made.board.close()
    os.close(made.lock)


def test_a_lane_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder nor a lock."""
    journal = tmp_path / "journal"
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.raises((OSError, JournalFull)):
        make_lane(journal, "lane", 4, 1 << 62, 77)
    assert list(journal.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == handles


def test_half_a_lane_is_seen_by_nobody(tmp_path: Path) -> None:
    """Before it has its name it is not listed, whatever stands in it."""
    made = make_lane(tmp_path, "lane", 4, 1 << 15, 77)
    (tmp_path / "lane").rename(tmp_path / ".new-lane")
    assert lanes_in(tmp_path) == []
    made.segment.close()
    made.board.close()
    os.close(made.lock)


def test_a_segment_more(tmp_path: Path) -> None:
    """Beside the others, once."""
    (tmp_path / "lane").mkdir()
    segment = make_segment(tmp_path, tmp_path / "lane", 7, 1 << 15)
    assert [path.name for path in segment_files(tmp_path / "lane")] == ["00000007.segment"]
    with pytest.raises(FileExistsError):
        make_segment(tmp_path, tmp_path / "lane", 7, 1 << 15)
    segment.close()


def full(times: int, code: int = errno.ENOSPC) -> Callable[[], str]:
    """Fails so many times."""
    left = [times]

    def make() -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(code, "no room")
        return "made"

    return make


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_trail_makes_room_as_far_as_it_must(new_lane: NewLane, code: int) -> None:
    """One segment at a time, the oldest first; without any left the disk is full."""
    lane = new_lane()
    for _ in range(2000):
        lane.append(usage_record(requests=1))
    lane.close()
    folder = LaneFolder(lane.folder / "lane")
    retire(folder)
    assert len(segment_files(folder.path)) == 4
    assert with_room(lane.folder, full(3, code)) == "made"
    assert len(segment_files(folder.path)) == 1
    with pytest.raises(JournalFull, match="free some space"):
        with_room(lane.folder, full(2, code))
    assert segment_files(folder.path) == []
    assert with_room(lane.folder, full(0)) == "made"


def test_a_broken_disk_is_not_a_full_one(new_lane: NewLane) -> None:
    """Nothing is removed for it."""
    lane = new_lane()
    lane.append(usage_record(requests=1))
    lane.close()
    folder = LaneFolder(lane.folder / "lane")
    seal(folder, 1)
    retire(folder)
    with pytest.raises(OSError, match="no room"):
        with_room(lane.folder, full(1, errno.EIO))
    assert len(segment_files(folder.path)) == 1


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    """A helper process would keep a dead worker's lane."""
    made = make_lane(tmp_path / "journal", "lane", 4, 1 << 15, 77)
    assert not os.get_inheritable(made.lock)
    assert try_lock(made.lane.path / LOCK) is None
    made.segment.close()
    made.board.close()
    os.close(made.lock)
