"""The latest records of one customer, from the journals of a disk that others write to."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from metering.journal import Journal
from metering.latest import latest_of
from metering.segments import segment_files
from metering.usage import UsageRecord
from tests.fakes import FakeClock, usage_record

NewLane = Callable[..., Journal]


def written(lane: Journal, clock: FakeClock, customers: list[str]) -> list[UsageRecord]:
    records = []
    for customer in customers:
        clock.advance(ms=1)
        record = usage_record(customer, time_ms=clock.now_ms(), requests=1)
        lane.append(record, None)
        records.append(record)
    return records


def test_newest_first(tmp_path: Path, new_lane: NewLane) -> None:
    """Over several lanes, one of them still written to."""
    clock = FakeClock()
    found = []
    for name in ("one", "two"):
        found += written(new_lane(name, clock=clock), clock, ["a", "b", "a"])
    latest = latest_of(tmp_path / "journal", "a", 3)
    mine = sorted((r for r in found if r.customer_id == "a"), key=lambda r: -r.time_ms)
    assert [r.time_ms for r in latest] == [r.time_ms for r in mine[:3]]
    assert len(latest_of(tmp_path / "journal", "a", 10)) == 4


def test_nobody_else_is_found(tmp_path: Path, new_lane: NewLane) -> None:
    """Not whose id begins alike, nor who is named as something else in a record."""
    clock = FakeClock()
    written(new_lane(clock=clock), clock, ["a", "aa", "chat", "requests", 'x"a', "中"])
    for customer in ("a", "aa", "chat", "requests", 'x"a', "中"):
        (only,) = latest_of(tmp_path / "journal", customer, 10)
        assert only.customer_id == customer
    assert latest_of(tmp_path / "journal", "b", 10) == []
    assert latest_of(tmp_path / "nowhere", "a", 10) == []


def test_many_segments(tmp_path: Path, new_lane: NewLane) -> None:
    """Only the newest are looked into."""
    clock = FakeClock()
    lane = new_lane(clock=clock)
    for _ in range(20):
        written(lane, clock, ["a"] * 100)
        lane.keep_up()
    assert len(segment_files(tmp_path / "journal" / "lane")) > 3
    latest = latest_of(tmp_path / "journal", "a", 5000, most_segments=2)
    assert 0 < len(latest) < 2000
    assert latest[0].time_ms == clock.now_ms()


def test_only_what_is_wanted(tmp_path: Path, new_lane: NewLane) -> None:
    """Of a bounded number of the customer's newest records."""
    clock = FakeClock()
    lane = new_lane(clock=clock)
    found = written(lane, clock, ["a"] * 20)
    oldest = found[0].time_ms
    latest = latest_of(tmp_path / "journal", "a", 5, lambda r: r.time_ms == oldest)
    assert [record.time_ms for record in latest] == [oldest]


def test_torn_and_foreign_bytes(tmp_path: Path, new_lane: NewLane) -> None:
    """A record that is damaged is passed over; so is a file that is none of ours."""
    clock = FakeClock()
    written(new_lane(clock=clock), clock, ["a", "a", "a"])
    path = segment_files(tmp_path / "journal" / "lane")[0]
    raw = bytearray(path.read_bytes())
    second = raw.index(b'"a"', raw.index(b'"a"') + 1)
    raw[second + 1 : second + 2] = b"z"
    path.write_bytes(raw)
    assert len(latest_of(tmp_path / "journal", "a", 10)) == 2
    path.write_bytes(b"junk")
    assert latest_of(tmp_path / "journal", "a", 10) == []


def test_what_is_older_is_not_read(tmp_path: Path, new_lane: NewLane) -> None:
    """As soon as enough was found that is newer than when a segment was written to last."""
    clock = FakeClock()
    written(new_lane("new", clock=clock), clock, ["a", "a"])
    found_at = clock.now_ms()
    clock.advance(seconds=10)
    written(new_lane("old", clock=clock), clock, ["a"])  # its record is newer than its file says
    for path in segment_files(tmp_path / "journal" / "old"):
        os.utime(path, ns=(0, (found_at - 5000) * 1_000_000))
    journal = tmp_path / "journal"
    latest = latest_of(journal, "a", 2)
    assert [record.time_ms for record in latest] == [found_at, found_at - 1]
    assert latest_of(journal, "a", 3)[0].time_ms == clock.now_ms()


def test_as_a_whole_reading_would_find(tmp_path: Path, new_lane: NewLane) -> None:
    """Whatever the customers and their order are, over segments and lanes."""
    clock, chosen = FakeClock(), random.Random(7)
    lanes = [new_lane(name, clock=clock) for name in ("one", "two", "three")]
    found: list[UsageRecord] = []
    for _ in range(40):
        customers = chosen.choices("abc", weights=[100, 5, 1], k=50)
        found += written(chosen.choice(lanes), clock, customers)
    for customer in "abc":
        for limit in (1, 7, 50, 5000):
            times = [r.time_ms for r in reversed(found) if r.customer_id == customer]
            latest = latest_of(tmp_path / "journal", customer, limit, most_segments=100)
            assert [r.time_ms for r in latest] == times[:limit]
