"""The lane of a process: what it is given is on the disk, in order, whatever the disk does."""

import errno
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.board import Open, Totals
from metering.errors import JournalFull
from metering.journal import Durability, Journal
from metering.lane_making import with_room
from metering.lanes import LaneFolder, State, lanes_in
from metering.partitions import partition_of
from metering.sealing import retire, seal
from metering.segments import SegmentWriter, path_of, segment_files
from metering.usage import Charge
from tests.fakes import FakeClock, usage_record
from tests.metering import full_disk

NewLane = Callable[..., Journal]
CALL = Open("r-1", "cust-1", "chat", 5)


def folder_of(lane: Journal) -> LaneFolder:
    return next(each for each in lanes_in(lane.folder) if each.lane_id == lane.lane_id)


def test_numbers_count_from_one_over_all_partitions(new_lane: NewLane) -> None:
    """A lane numbers its records 1, 2, 3 whatever customer they are of."""
    lane = new_lane(partitions=64)
    assert [lane.append(usage_record(c, requests=1)) for c in "abc"] == [1, 2, 3]


def test_what_is_written_is_read_back(new_lane: NewLane) -> None:
    """The files hold the records in order, each in its customer's partition."""
    lane = new_lane(partitions=64)
    records = [usage_record(c, requests=1, tokens_in=n) for n, c in enumerate("abcab")]
    for record in records:
        lane.append(record)
    entries = list(folder_of(lane).entries())
    assert [entry.record for entry in entries] == records
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.partition for entry in entries] == [partition_of(c, 64) for c in "abcab"]
    assert [e.number for e in folder_of(lane).entries(after=3)] == [4, 5]


def test_time_never_goes_back_in_a_lane(new_lane: NewLane) -> None:
    """A clock that stepped back gives the last record's time."""
    lane = new_lane()
    lane.append(usage_record(time_ms=2000, requests=1))
    lane.append(usage_record(time_ms=1000, requests=1))
    assert [entry.record.time_ms for entry in folder_of(lane).entries()] == [2000, 2000]


def test_a_mark_bounds_every_later_record(new_lane: NewLane) -> None:
    """What is appended after mark(T) has a time of at least T."""
    lane = new_lane()
    assert lane.mark(5000) == 5000
    lane.append(usage_record(time_ms=4000, requests=1))
    assert next(folder_of(lane).entries()).record.time_ms == 5000


def test_many_segments_are_one_lane(new_lane: NewLane) -> None:
    """Segments follow each other; nothing is lost where one ends."""
    lane = new_lane(partitions=4)
    for n in range(2000):
        lane.append(usage_record(f"c{n % 7}", tokens_in=n))
    entries = list(folder_of(lane).entries())
    assert [entry.number for entry in entries] == list(range(1, 2001))
    assert len(list(folder_of(lane).segments())) > 3
    assert lane.totals().quantities == {"tokens_in": sum(range(2000))}


def test_what_the_ledger_holds_becomes_audit_trail(new_lane: NewLane) -> None:
    """Full segments are renamed, and are read all the same."""
    lane = new_lane()
    for _ in range(1000):
        lane.append(usage_record(requests=1))
    lane.tail.retire(0, 1000)
    lane.keep_up()
    lane.close()
    kinds = {segment.path.suffix for segment in folder_of(lane).segments()}
    assert kinds == {".audit", ".segment"}
    assert sum(1 for _ in folder_of(lane).entries()) == 1000


def test_a_closed_lane_is_sealed(new_lane: NewLane) -> None:
    """Its end is known and nothing in it is uncertain."""
    lane = new_lane()
    slot = lane.begin(CALL)
    lane.append(usage_record(requests=1), slot)
    assert folder_of(lane).state() is State.LIVE
    lane.close()
    sealed = folder_of(lane).sealed()
    assert sealed is not None
    assert (sealed.end, sealed.open, folder_of(lane).state()) == (1, [], State.SEALED)


def test_an_open_request_stands_in_a_slot(new_lane: NewLane) -> None:
    """Until it has a record, or ended without one."""
    lane = new_lane()
    slot, other = lane.begin(CALL), lane.begin(CALL)
    assert lane.open_requests == 2
    lane.append(usage_record(requests=1), slot)
    lane.forget(other)
    assert lane.open_requests == 0


def test_what_is_open_at_the_end_is_named(new_lane: NewLane) -> None:
    """A request without a record is uncertain, by id, customer, route and start."""
    lane = new_lane()
    lane.begin(CALL)
    lane.close()
    sealed = folder_of(lane).sealed()
    assert sealed is not None
    assert sealed.open == [CALL]


def test_more_requests_than_slots_are_refused(new_lane: NewLane) -> None:
    """The table is of fixed size."""
    lane = new_lane()
    for _ in range(8192):
        lane.begin(CALL)
    with pytest.raises(JournalFull, match="too many"):
        lane.begin(CALL)


def test_the_audit_trail_gives_way_to_new_segments(new_lane: NewLane) -> None:
    """Pruning keeps the days that are configured."""
    clock = FakeClock()
    lane = new_lane(clock=clock)
    for _ in range(1000):
        lane.append(usage_record(requests=1))
    lane.tail.retire(0, 1000)
    lane.keep_up()
    clock.time_ms = 1 << 43  # far in the future of every file
    lane.prune()
    lane.close()
    assert {segment.path.suffix for segment in folder_of(lane).segments()} == {".segment"}


def test_a_retired_lane_takes_no_more_room_than_it_needs(new_lane: NewLane) -> None:
    """Segments are cut to what was written, and are read as before."""
    lane = new_lane()
    for n in range(100):
        lane.append(usage_record(tokens_in=n))
    lane.close()
    before = list(folder_of(lane).entries())
    retire(folder_of(lane))
    assert list(folder_of(lane).entries()) == before
    assert folder_of(lane).state() is State.RETIRED
    assert sum(path.stat().st_size for path in folder_of(lane).path.iterdir()) < 40_000


class SmallDisk:
    """A disk with room for so many bytes of segments."""

    def __init__(self, size: int) -> None:
        self.size = size

    def make(self, journal: Path, lane: Path, number: int, size: int) -> SegmentWriter:
        def create() -> SegmentWriter:
            used = sum(path.stat().st_size for path in segment_files(lane))
            if used + size > self.size:
                raise OSError(errno.ENOSPC, "no space left")
            return SegmentWriter.create(path_of(lane, number), size)

        return with_room(journal, create)


def test_a_disk_that_gets_full(tmp_path: Path) -> None:
    """The audit trail goes first, then calls are refused; who is open is counted still."""
    full_disk.tell(tmp_path / "journal", SmallDisk(5 * full_disk.SEGMENT).make)


def test_a_real_disk_that_gets_full(tmp_path: Path) -> None:
    """The same on a file system of its own, where that is allowed."""
    room = (4 << 20) + 8192 + 6 * full_disk.SEGMENT
    script = (
        f'mount -t tmpfs -o size={room} none "$1" && exec "$0" -m tests.metering.full_disk "$1"'
    )
    told = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if "told" not in told.stdout and ("unshare" in told.stderr or "mount" in told.stderr):
        pytest.skip("no file system may be mounted here")
    assert (told.stdout, told.stderr, told.returncode) == ("told\n", told.stderr, 0), told.stderr


def test_a_disk_that_breaks_lets_no_more_calls_in(tmp_path: Path) -> None:
    """As does one that turned read-only: no next segment can be made, and nothing is lost."""

    def fails(journal: Path, lane: Path, number: int, size: int) -> SegmentWriter:
        raise OSError(errno.EROFS, "read-only file system")

    durability = Durability(fsync="never", segment_bytes=1 << 16)
    lane = Journal(tmp_path / "journal", "lane", 1, durability, FakeClock(), make=fails)
    *_, written = full_disk.calls(lane, count(1))
    assert written > 300
    with pytest.raises(JournalFull):
        lane.begin(CALL)
    assert not lane.writable
    lane.close()
    assert [entry.number for entry in folder_of(lane).entries()] == list(range(1, written + 1))


def test_a_record_that_fits_nowhere_is_refused(new_lane: NewLane) -> None:
    """And costs neither a segment nor what comes after it; its request stays open."""
    lane = new_lane()
    lane.append(usage_record(requests=1))
    charges = tuple(Charge(f"{n}" * 10, "requests") for n in range(4000))
    slot = lane.begin(CALL)
    for _ in range(3):
        with pytest.raises(ValueError, match="does not fit"):
            lane.append(usage_record(requests=1, charges=charges), slot)
    assert lane.append(usage_record(requests=1)) == 2
    assert lane.open_requests == 1
    assert [entry.number for entry in folder_of(lane).entries()] == [1, 2]


def test_a_record_that_cannot_be_written_changes_nothing(new_lane: NewLane) -> None:
    """The next one has its number."""
    lane = new_lane()
    with pytest.raises(struct.error):
        lane.append(usage_record(requests=1 << 70))
    assert lane.append(usage_record(requests=1)) == 1
    assert lane.totals() == Totals(1, {"requests": 1})


@given(
    sizes=st.lists(st.integers(0, 900), max_size=60),
    segment_bytes=st.integers(11_000, 20_000),
    partitions=st.sampled_from([1, 4]),
)
@settings(max_examples=25, deadline=None)
def test_segments_of_any_size_turn_over(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    segment_bytes: int,
    partitions: int,
) -> None:
    """Records of any length, wherever a segment ends: the lane reads as it was written."""
    folder = tmp_path_factory.mktemp("any") / "journal"
    durability = Durability(fsync="never", segment_bytes=segment_bytes)
    lane = Journal(folder, "lane", partitions, durability, FakeClock())
    records = [usage_record(f"{'c' * size}{n}", tokens_in=n) for n, size in enumerate(sizes)]
    for record in records:
        lane.append(record)
    lane.close()
    found = [entry.record for entry in folder_of(lane).entries()]
    assert found == records
    assert folder_of(lane).totals() == lane.totals()


def test_requests_that_are_open_at_the_end_are_named(new_lane: NewLane) -> None:
    """Closing is no reason to lose them; whoever ends now has nowhere to write."""
    lane = new_lane()
    slot = lane.begin(CALL)
    lane.close()
    lane.close()
    with pytest.raises(JournalFull, match="closed"):
        lane.append(usage_record(requests=1), slot)
    with pytest.raises(JournalFull, match="closed"):
        lane.begin(CALL)
    sealed = folder_of(lane).sealed()
    assert sealed is not None
    assert (sealed.end, sealed.open) == (0, [CALL])


def test_a_lane_that_cannot_be_sealed_is_let_go_of(
    new_lane: NewLane, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever adopts it seals it."""
    lane = new_lane()
    lane.append(usage_record(requests=1))
    folder = folder_of(lane)
    (folder.path / ".sealed.json").mkdir()  # in the way
    lane.close()
    assert "not sealed" in caplog.text
    assert folder.state() is State.DEAD
    (folder.path / ".sealed.json").rmdir()
    assert seal(folder, 5).end == 1


def test_a_segment_that_cannot_be_renamed_is_tried_again(new_lane: NewLane) -> None:
    """It is kept until it can."""
    lane = new_lane()
    for _ in range(1000):
        lane.append(usage_record(requests=1))
    folder = folder_of(lane)
    in_the_way = folder.path / "00000001.audit"
    in_the_way.mkdir()
    lane.tail.retire(0, 1000)
    lane.keep_up()
    full_disk.until(lambda: lane._finished != {})
    in_the_way.rmdir()

    def renamed() -> bool:
        lane.keep_up()
        return in_the_way.is_file()

    full_disk.until(renamed)


def test_a_journal_that_cannot_be_synced_lets_no_more_calls_in(tmp_path: Path) -> None:
    """What is open is recorded still."""
    durability = Durability(fsync="always", segment_bytes=1 << 16)
    lane = Journal(tmp_path / "journal", "lane", 1, durability, FakeClock())
    slot = lane.begin(CALL)
    read, write = os.pipe()
    lane._upkeep.watch(read)  # a pipe cannot be synced
    done = threading.Event()
    lane.append(usage_record(requests=1), slot)
    assert lane.when_durable(done.set)
    assert done.wait(20)
    assert not lane.writable
    with pytest.raises(JournalFull, match="durable"):
        lane.begin(CALL)
    lane.close()
    os.close(read)
    os.close(write)


def test_every_record_is_read_back_while_segments_turn_over_in_a_hurry(tmp_path: Path) -> None:
    """The other thread makes segments, syncs, renames and prunes meanwhile."""
    durability = Durability(fsync="interval", segment_bytes=11_000, retention_bytes=40_000)
    lane = Journal(tmp_path / "journal", "lane", 1, durability, FakeClock())
    folder = folder_of(lane)
    for number in range(1, 1501):
        assert lane.append(usage_record(tokens_in=number)) == number
        if number % 50 == 0:
            lane.tail.retire(0, number - 40)
            lane.keep_up()
            lane.prune()
            read = [entry.number for entry in folder.entries(after=number - 40)]
            assert read == list(range(number - 39, number + 1))
    lane.close()
    assert lane.totals() == Totals(1500, {"tokens_in": sum(range(1501))})
    assert folder.totals() == lane.totals()
    assert folder.holdings().gone
