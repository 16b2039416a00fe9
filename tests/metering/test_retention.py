"""What of the audit trail goes, and what never does."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from metering.journal import Journal
from metering.lanes import BOARD, INFO, LOCK, LaneFolder, State
from metering.locks import try_lock
from metering.retention import Kept, make_room, prune, surplus
from metering.sealing import retire
from metering.segments import AUDIT, LIVE, segment_files
from tests.fakes import FakeClock, usage_record

NewLane = Callable[..., Journal]
DAY_MS = 86_400_000
KEPT = st.builds(
    Kept, st.integers(0, 999).map(lambda n: Path(f"{n}")), st.integers(0, 50), st.integers(1, 9)
)


@given(
    kept=st.lists(KEPT, max_size=12, unique_by=lambda segment: segment.path),
    now=st.integers(0, 60),
    days=st.integers(0, 60),
    most=st.integers(0, 60),
)
def test_the_oldest_go_until_the_rest_fits(
    kept: list[Kept], now: int, days: int, most: int
) -> None:
    """All that are too old, no more for their bytes than must, and never a younger one first."""
    days_ms = [segment._replace(at=segment.at * DAY_MS) for segment in kept]
    gone = surplus(days_ms, now_ms=now * DAY_MS, days=days, max_bytes=most)
    left = [segment for segment in days_ms if segment not in gone]
    assert sum(segment.size for segment in left) <= most or not left
    assert all(segment.at >= (now - days) * DAY_MS for segment in left)
    assert max((s.at for s in gone), default=0) <= min((s.at for s in left), default=1 << 60)
    for segment in gone[-1:]:
        too_old = segment.at < (now - days) * DAY_MS
        assert too_old or sum(s.size for s in left) + segment.size > most


def retired(new_lane: NewLane, lane_id: str = "lane", count: int = 2000) -> LaneFolder:
    """A lane of which the ledger holds everything, in four segments."""
    lane = new_lane(lane_id, clock=FakeClock(5 * DAY_MS))
    for _ in range(count):
        lane.append(usage_record(requests=1))
    lane.close()
    folder = LaneFolder(lane.folder / lane_id)
    retire(folder)
    for day, path in enumerate(segment_files(folder.path, AUDIT)):
        os.utime(path, (day * 86_400, day * 86_400))
    return folder


def cut(folder: LaneFolder, *, day: int, days: int = 1000, most: int = 1 << 40) -> list[str]:
    """What is left of the trail."""
    prune(folder.path.parent, now_ms=day * DAY_MS, days=days, max_bytes=most)
    return [path.name[:8] for path in segment_files(folder.path)]


def test_days_are_kept(new_lane: NewLane) -> None:
    """By when a segment was written last."""
    folder = retired(new_lane)
    assert cut(folder, day=3, days=2) == ["00000002", "00000003", "00000004"]
    assert cut(folder, day=5, days=2) == ["00000004"]


def test_bytes_are_kept(new_lane: NewLane) -> None:
    """The newest ones."""
    folder = retired(new_lane)
    size = sum(path.stat().st_size for path in segment_files(folder.path)[1:])
    assert cut(folder, day=3, most=size) == ["00000002", "00000003", "00000004"]
    assert cut(folder, day=3, most=1) == []


def test_what_the_ledger_lacks_is_never_removed(new_lane: NewLane) -> None:
    """However old and large it is."""
    lane = new_lane()
    for _ in range(2000):
        lane.append(usage_record(requests=1))
    lane.close()
    folder = LaneFolder(lane.folder / "lane")
    before = segment_files(folder.path, LIVE)
    prune(lane.folder, now_ms=1 << 60, days=0, max_bytes=0)
    while make_room(lane.folder):
        pass
    assert segment_files(folder.path) == before


def test_room_is_made_one_by_one(new_lane: NewLane) -> None:
    """The oldest segment of all lanes first; in the end there is none."""
    folder = retired(new_lane)
    names = []
    while make_room(folder.path.parent):
        names.append([path.name[:8] for path in segment_files(folder.path)])
    assert [len(left) for left in names] == [3, 2, 1, 0]
    assert names[0] == ["00000002", "00000003", "00000004"]


def test_an_empty_lane_is_kept_as_long_as_its_trail_would_be(new_lane: NewLane) -> None:
    """Its end tells a ledger that was set back what is lost: full disks do not take it."""
    folder = retired(new_lane)
    while make_room(folder.path.parent):
        pass
    prune(folder.path.parent, now_ms=6 * DAY_MS, days=2, max_bytes=1)
    assert folder.state() is State.RETIRED
    prune(folder.path.parent, now_ms=8 * DAY_MS, days=2, max_bytes=1)
    assert list(folder.path.parent.iterdir()) == []


def test_a_lane_in_use_is_never_removed(new_lane: NewLane) -> None:
    """Also when somebody adopts it just now."""
    lane = new_lane(clock=FakeClock(1))
    prune(lane.folder, now_ms=1 << 60, days=0, max_bytes=0)
    assert LaneFolder(lane.folder / "lane").state() is State.LIVE


def test_a_folder_half_made_goes_after_ten_minutes(tmp_path: Path) -> None:
    """Unless its maker is alive."""
    handles: dict[str, int] = {}
    for name in (".new-young", ".new-old", ".new-alive"):
        draft = tmp_path / name
        draft.mkdir()
        (draft / BOARD).write_bytes(b"half")
        handles[name] = try_lock(draft / LOCK) or 0
        if name != ".new-alive":
            os.close(handles[name])
        os.utime(draft, (1000, 1000))
    os.utime(tmp_path / ".new-young", (1002, 1002))
    prune(tmp_path, now_ms=1_601_000, days=9, max_bytes=1)
    assert {path.name for path in tmp_path.iterdir()} == {".new-young", ".new-alive"}
    os.close(handles[".new-alive"])
    prune(tmp_path, now_ms=1_601_000, days=9, max_bytes=1)
    assert [path.name for path in tmp_path.iterdir()] == [".new-young"]


def test_a_damaged_lane_does_not_stop_the_others(new_lane: NewLane) -> None:
    """What cannot be read is left alone."""
    folder = retired(new_lane)
    bad = retired(new_lane, "bad")
    (bad.path / INFO).write_bytes(b"{")
    assert cut(folder, day=9, days=1) == []
    assert len(segment_files(bad.path)) == 4


def clear(journal: Path) -> None:
    while make_room(journal):
        pass
    prune(journal, now_ms=1 << 50, days=0, max_bytes=0)


def read(folders: list[LaneFolder]) -> None:
    for folder in folders * 3:
        with suppress(FileNotFoundError):  # the lane is gone
            numbers = [entry.number for entry in folder.entries()]
            assert numbers == sorted(numbers)


def test_two_workers_prune_at_once_while_others_read(new_lane: NewLane) -> None:
    """None of them trips over the other; readers see what is left, in order."""
    folders = [retired(new_lane, f"lane-{n}", 700) for n in range(4)]
    journal = folders[0].path.parent
    with ThreadPoolExecutor(3) as pool:
        work = [
            pool.submit(clear, journal),
            pool.submit(clear, journal),
            pool.submit(read, folders),
        ]
    assert [each.result() for each in work] == [None, None, None]
    assert list(journal.iterdir()) == []
