"""Lanes as whoever looks at the disk finds them, whole, damaged, or just being removed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.board import Open, Totals
from metering.journal import Journal
from metering.lanes import (
    BOARD,
    INFO,
    SEALED,
    Gap,
    LaneFolder,
    State,
    lanes_in,
    ownerless,
    unreadable_in,
)
from metering.sealing import retire, seal
from metering.segments import AUDIT, segment_files, to_audit
from tests.fakes import FakeClock, usage_record

NewLane = Callable[..., Journal]


def written(new_lane: NewLane, lane_id: str = "lane", count: int = 600, **given) -> LaneFolder:  # type: ignore[no-untyped-def]
    """A lane of so many records over four partitions, in several segments, closed."""
    lane = new_lane(lane_id, partitions=4, **given)
    for number in range(1, count + 1):
        lane.append(usage_record(f"c{number % 7}", tokens_in=number))
    lane.close()
    return LaneFolder(lane.folder / lane_id)


def numbers(lane: LaneFolder, after: int = 0) -> list[int]:
    return [entry.number for entry in lane.entries(after=after)]


def test_a_lane_goes_through_its_states(new_lane: NewLane) -> None:
    """Live, dead, sealed, retired."""
    lane = new_lane()
    folder = LaneFolder(lane.folder / "lane")
    lane.append(usage_record(requests=1))
    assert folder.state() is State.LIVE
    os.rename(folder.path, copy := folder.path.with_name("copy"))
    lane.close()
    os.rename(copy, folder.path)
    assert folder.state() is State.DEAD
    seal(folder, 5)
    assert folder.state() is State.SEALED
    retire(folder)
    assert folder.state() is State.RETIRED


def test_looking_at_a_lane_disturbs_nobody_who_looks(new_lane: NewLane) -> None:
    """Two who ask for the state at once both find it without an owner."""
    folder = written(new_lane)
    assert {folder.state() for _ in range(3)} == {State.SEALED}


def test_lanes_are_listed_oldest_first(new_lane: NewLane, tmp_path: Path) -> None:
    """By when they were made; nothing else in the folder is one."""
    for lane_id, made in (("b", 7), ("a", 9), ("c", 7)):
        new_lane(lane_id, clock=FakeClock(made))
    (tmp_path / "journal" / "stray").mkdir()
    (tmp_path / "journal" / "file").touch()
    (tmp_path / "journal" / ".new-d").mkdir()
    assert [lane.lane_id for lane in lanes_in(tmp_path / "journal")] == ["b", "c", "a"]
    assert lanes_in(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", [INFO, SEALED])
@pytest.mark.parametrize("content", [b"", b"{", b'{"lane": 5}', b"\xff"])
def test_a_damaged_lane_is_named_and_stops_no_other(
    new_lane: NewLane, tmp_path: Path, name: str, content: bytes
) -> None:
    """A person must look at it; nobody starts a helper for it, second after second."""
    written(new_lane, "good", 5)
    bad = written(new_lane, "bad", 5)
    (bad.path / name).write_bytes(content)
    journal = tmp_path / "journal"
    assert bad.state() is State.UNREADABLE
    assert [lane.lane_id for lane in unreadable_in(journal)] == ["bad"]
    assert ownerless(journal, set()) == ["good"]
    assert "good" in {lane.lane_id for lane in lanes_in(journal)}
    bad.totals()


def test_what_is_no_file_is_no_lane_to_read(new_lane: NewLane, tmp_path: Path) -> None:
    """Neither a folder nor a broken link by the name of lane.json."""
    written(new_lane, "good", 5)
    journal = tmp_path / "journal"
    (journal / "odd" / INFO).mkdir(parents=True)
    (journal / "link").mkdir()
    (journal / "link" / INFO).symlink_to("nowhere")
    assert [lane.lane_id for lane in lanes_in(journal)] == ["good"]
    assert [lane.lane_id for lane in unreadable_in(journal)] == ["link", "odd"]


def test_lanes_without_an_owner_are_found(new_lane: NewLane, tmp_path: Path) -> None:
    """Until they are retired; then they are not looked at again."""
    journal = tmp_path / "journal"
    settled: set[str] = set()
    assert ownerless(journal, settled) == []
    folder = written(new_lane, count=5)
    new_lane("alive")
    assert ownerless(journal, settled) == ["lane"]
    retire(folder)
    assert ownerless(journal, settled) == []
    assert settled == {"lane"}


def test_reading_begins_anywhere(new_lane: NewLane) -> None:
    """Behind any record, over all segments."""
    folder = written(new_lane)
    assert len(segment_files(folder.path)) > 2
    for after in (0, 1, 150, 299, 599, 600, 700):
        assert numbers(folder, after) == list(range(after + 1, 601))


def test_a_segment_renamed_or_removed_while_reading(new_lane: NewLane) -> None:
    """Renamed ones are read all the same, removed ones left out; nobody trips over them."""
    folder = written(new_lane, count=1800)
    first, second, third, *_ = segment_files(folder.path)
    reading = folder.entries()
    read = [next(reading).number]
    to_audit(second)
    to_audit(third)
    third.with_suffix(AUDIT).unlink()
    read += [entry.number for entry in reading]
    gone = [n for n in range(1, 1801) if n not in read]
    assert read == sorted(read)
    assert gone == list(range(gone[0], gone[-1] + 1))
    assert read[-1] == 1800
    assert first.exists()


def test_a_living_lane_is_read_as_far_as_it_is_written(new_lane: NewLane) -> None:
    """Also the part that came after the last look, over a new segment."""
    lane = new_lane(partitions=4)
    folder = LaneFolder(lane.folder / "lane")
    for number in range(1, 1001):
        lane.append(usage_record(tokens_in=number))
        if number % 111 == 0:
            assert numbers(folder, number - 5) == list(range(number - 4, number + 1))
            assert max(folder.holdings().last.values()) == number


def test_nothing_is_gone_of_a_whole_lane(new_lane: NewLane) -> None:
    """Every partition's last record is known."""
    folder = written(new_lane)
    sealed = folder.sealed()
    assert sealed is not None
    assert folder.holdings() == (sealed.last, [])
    last = {entry.partition: entry.number for entry in folder.entries()}
    assert sealed.last == last


@pytest.mark.parametrize("taken", [{0}, {1}, {0, 1}, {0, 2}, {-1}, {-2, -1}, {0, -1}])
def test_what_the_retention_took_is_known(new_lane: NewLane, taken: set[int]) -> None:
    """Wherever it was: which records, and of which partitions."""
    folder = written(new_lane, count=1200)
    retire(folder)
    whole = list(folder.entries())
    paths = segment_files(folder.path)
    for index in taken:
        paths[index].unlink()
    left = {entry.number for entry in folder.entries()}
    held = folder.holdings()
    gone = [n for gap in held.gone for n in range(gap.first, gap.last + 1)]
    assert gone == [entry.number for entry in whole if entry.number not in left]
    for gap in held.gone:
        inside = [e for e in whole if gap.first <= e.number <= gap.last]
        assert gap.ends == {entry.partition: entry.number for entry in inside}
    assert held.last == {e.partition: e.number for e in whole if e.number in left}


def test_of_a_lane_without_any_segment_all_is_gone(new_lane: NewLane) -> None:
    """Its end says what it was."""
    folder = written(new_lane, count=300)
    retire(folder)
    for path in segment_files(folder.path):
        path.unlink()
    sealed = folder.sealed()
    assert sealed is not None
    assert folder.holdings() == ({}, [Gap(1, 300, sealed.last)])


def test_totals_are_exact_though_the_trail_is_cut(new_lane: NewLane) -> None:
    """A long-lived lane is sealed after its first segments were removed."""
    lane = new_lane(partitions=4)
    for number in range(1, 1201):
        lane.append(usage_record(f"c{number % 7}", tokens_in=number))
    for partition in range(4):
        lane.tail.retire(partition, 900)
    lane.keep_up()
    lane.close()  # which finishes the renaming, and seals
    folder = LaneFolder(lane.folder / "lane")
    whole = folder.sealed()
    assert whole is not None
    trail = segment_files(folder.path, AUDIT)
    assert trail
    for path in trail:
        path.unlink()
    (folder.path / SEALED).unlink()
    assert seal(folder, whole.at) == whole
    assert folder.totals() == Totals(1200, {"tokens_in": sum(range(1201))})


def test_a_living_lane_shows_its_totals(new_lane: NewLane) -> None:
    """Those of a second ago."""
    lane = new_lane()
    folder = LaneFolder(lane.folder / "lane")
    assert folder.totals() == Totals()
    lane.append(usage_record(requests=1))
    lane.keep_up()
    assert folder.totals() == Totals(1, {"requests": 1})


def test_a_lane_without_a_board_has_nothing_open(new_lane: NewLane) -> None:
    """It is sealed all the same."""
    lane = new_lane()
    lane.begin(Open("r", "c", "chat", 1))
    lane.append(usage_record(requests=1))
    folder = LaneFolder(lane.folder / "lane")
    (folder.path / BOARD).unlink()
    lane.close()
    sealed = folder.sealed()
    assert sealed is not None
    assert (sealed.end, sealed.open) == (1, [])
