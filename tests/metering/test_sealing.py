"""Where a lane ends and what was open, whatever its owner's death left on the disk."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from metering.board import Open
from metering.journal import Durability, Journal
from metering.lanes import SEALED, LaneFolder, Sealed, State
from metering.sealing import retire, seal
from metering.segments import AUDIT, LIVE, segment_files
from metering.usage import UsageRecord
from tests.fakes import FakeClock, usage_record
from tests.metering.lives import left_behind

NewLane = Callable[..., Journal]
Dead = Callable[[Journal], LaneFolder]


def ended(request_id: str, time_ms: int) -> UsageRecord:
    return replace(usage_record(time_ms=time_ms, requests=1), request_id=request_id)


@pytest.fixture
def dead(new_lane: NewLane, tmp_path: Path) -> Dead:
    """What a lane leaves on the disk when its process is killed now."""
    return lambda lane: left_behind(lane, tmp_path / "left")


def test_a_killed_lane_ends_at_its_last_record(new_lane: NewLane, dead: Dead) -> None:
    """With its sums, and without anything in it being changed."""
    lane = new_lane(partitions=4)
    for number in range(1, 1001):
        lane.append(usage_record(f"c{number % 7}", time_ms=number, tokens_in=number))
    folder = dead(lane)
    assert folder.state() is State.DEAD
    before = {path.name: path.read_bytes() for path in segment_files(folder.path)}
    sealed = seal(folder, 77)
    assert (sealed.at, sealed.end, sealed.records, sealed.last_ms) == (77, 1000, 1000, 1000)
    assert sealed.quantities == {"tokens_in": sum(range(1001))}
    assert sealed.last == {entry.partition: entry.number for entry in folder.entries()}
    assert {path.name: path.read_bytes() for path in segment_files(folder.path)} == before


def test_a_lane_is_sealed_once(new_lane: NewLane, dead: Dead) -> None:
    """Who seals it again finds what stands there."""
    lane = new_lane()
    lane.append(usage_record(requests=1))
    folder = dead(lane)
    first = seal(folder, 5)
    for path in segment_files(folder.path):
        path.unlink()
    assert seal(folder, 9) == first


def test_a_kill_while_sealing_leaves_an_unsealed_lane(new_lane: NewLane, dead: Dead) -> None:
    """The draft is no seal; the next one writes over it."""
    lane = new_lane()
    lane.append(usage_record(requests=1))
    folder = dead(lane)
    (folder.path / f".{SEALED}").write_bytes(b'{"at": 1')
    assert folder.state() is State.DEAD
    assert seal(folder, 5).end == 1


def test_a_lane_that_was_never_used_ends_at_nothing(new_lane: NewLane, dead: Dead) -> None:
    """Its next segment was made ahead and never begun."""
    folder = dead(new_lane())
    sealed = seal(folder, 5)
    assert (sealed.end, sealed.records, sealed.last, sealed.open) == (0, 0, {}, [])
    retire(folder)
    assert folder.state() is State.RETIRED
    assert segment_files(folder.path) == []


def test_what_was_open_is_found_in_the_slots(new_lane: NewLane, dead: Dead) -> None:
    """By request id, customer, route and start."""
    lane = new_lane()
    calls = [Open(f"r-{n}", "客户", "chat", n) for n in range(1, 4)]
    slots = [lane.begin(call) for call in calls]
    lane.append(ended("r-2", 10), slots[1])
    assert seal(dead(lane), 99).open == [calls[0], calls[2]]


def test_a_record_ends_its_request_though_the_slot_stands(new_lane: NewLane, dead: Dead) -> None:
    """Killed after the record was written and before its slot was cleared."""
    lane = new_lane()
    lane.begin(Open("r-1", "c", "chat", 5))
    lane.append(ended("r-1", 6))  # its slot is left
    assert seal(dead(lane), 99).open == []


def test_a_clock_set_back_between_does_not_make_it_uncertain(new_lane: NewLane, dead: Dead) -> None:
    """A record never seems older than the start of its own request."""
    lane = new_lane()
    lane.begin(Open("r-1", "c", "chat", 5000))
    lane.append(ended("r-1", 100))
    assert seal(dead(lane), 99).open == []


def test_an_earlier_request_of_the_same_id_proves_nothing(new_lane: NewLane, dead: Dead) -> None:
    """A peer may send its id again; only a record after the start is this request's."""
    lane = new_lane()
    lane.append(ended("r-1", 6), lane.begin(Open("r-1", "c", "chat", 5)))
    again = Open("r-1", "c", "chat", 7)
    lane.begin(again)
    assert seal(dead(lane), 99).open == [again]


def test_a_record_in_the_audit_trail_ends_its_request_too(new_lane: NewLane, dead: Dead) -> None:
    """The ledger was quick, and the slot was not cleared: a power cut kept it."""
    lane = new_lane()
    lane.begin(Open("r-1", "c", "chat", 5))
    lane.append(ended("r-1", 6))
    for number in range(600):
        lane.append(usage_record(time_ms=100 + number, requests=1))
    folder = dead(lane)
    first = segment_files(folder.path)[0]
    first.rename(first.with_suffix(AUDIT))
    assert seal(folder, 9999).open == []


@given(count=st.integers(1, 120), where=st.floats(0, 1), at=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_torn_lane_ends_before_the_tear(
    tmp_path_factory: pytest.TempPathFactory, count: int, where: float, at: float
) -> None:
    """In any segment: everything before counts, nothing behind is believed, also by readers."""
    base = tmp_path_factory.mktemp("torn")
    durability = Durability(fsync="never", segment_bytes=1 << 14)
    lane = Journal(base / "journal", "lane", 4, durability, FakeClock())
    for number in range(1, count + 1):
        lane.append(usage_record(f"c{number % 5}", tokens_in=number))
    folder = left_behind(lane, base / "left")
    lane.close()
    whole = list(folder.entries())
    assert len(whole) == count
    paths = segment_files(folder.path)
    path = paths[round(where * (len(paths) - 1))]
    content = path.read_bytes()
    kept = content[: round(at * len(content.rstrip(b"\0")))]
    path.write_bytes(kept + bytes(len(content) - len(kept)))
    sealed = seal(folder, 5)
    read = list(folder.entries())
    assert read == whole[: sealed.end]
    assert sealed.records == sealed.end
    assert sealed.quantities.get("tokens_in", 0) == sum(range(sealed.end + 1))
    assert sealed.last == {entry.partition: entry.number for entry in read}
    assert folder.holdings() == (sealed.last, [])
    retire(folder)
    assert list(folder.entries()) == read
    assert segment_files(folder.path, LIVE) == []


def test_what_retiring_leaves_can_be_retired_again(new_lane: NewLane, dead: Dead) -> None:
    """Killed between two segments, or before the board went: the rest is done later."""
    lane = new_lane()
    for _ in range(1000):
        lane.append(usage_record(requests=1))
    folder = dead(lane)
    seal(folder, 5)
    entries = list(folder.entries())
    first = segment_files(folder.path)[0]
    os.rename(first, first.with_suffix(AUDIT))
    (folder.path / ".00000002.segment").write_bytes(b"half a copy")
    retire(folder)
    retire(folder)
    assert list(folder.entries()) == entries
    assert folder.state() is State.RETIRED


def test_a_seal_reads_as_it_was_written(new_lane: NewLane, dead: Dead) -> None:
    """Every field, through the file."""
    lane = new_lane()
    lane.begin(Open("r-1", "客", "chat", 5))
    lane.append(usage_record(requests=1, tokens_in=10**15))
    folder = dead(lane)
    sealed = seal(folder, 7)
    found = folder.sealed()
    assert isinstance(found, Sealed)
    assert found == sealed
    assert list(found.footers) == [1]
