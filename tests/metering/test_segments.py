"""Segments as their writer leaves them, whole or torn, and as readers find them meanwhile."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from metering.footers import Footer, footer_room
from metering.segment_reading import SegmentReader
from metering.segments import (
    AUDIT,
    LIVE,
    SegmentWriter,
    path_of,
    segment_files,
    to_audit,
)
from metering.usage import Quantity, UsageRecord
from tests.fakes import usage_record

SIZE = 1 << 15
BEFORE = Footer({3: 40, 5: 41}, 1, 9, 41, 41, {"tokens_in": 7})


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SegmentWriter]:
    made = SegmentWriter.create(path_of(tmp_path, 2), SIZE)
    yield made
    made.close()


def fill(writer: SegmentWriter, count: int, first: int = 42) -> list[UsageRecord]:
    """So many records, numbered on."""
    records = [usage_record(f"c{n}", time_ms=100 + n, tokens_in=n) for n in range(count)]
    for number, record in enumerate(records, start=first):
        writer.append(number, number % 8, record)
    return records


def test_a_segment_made_ahead_reads_as_empty(writer: SegmentWriter) -> None:
    """It has its blocks and nothing else."""
    reader = SegmentReader(writer.path)
    assert list(reader.records()) == []
    assert (reader.footer(), reader.before()) == (None, Footer())
    assert writer.path.stat().st_blocks * 512 >= SIZE
    reader.trim()
    assert writer.path.stat().st_size == SIZE


def test_a_segment_in_use_is_read_up_to_the_last_record(writer: SegmentWriter) -> None:
    """And says what the lane held before."""
    writer.begin("lane", 8, BEFORE)
    records = fill(writer, 5)
    reader = SegmentReader(writer.path)
    assert list(reader.records()) == list(enumerate(records, start=42))
    assert (reader.footer(), reader.before()) == (None, BEFORE)


def test_a_footer_sums_up_what_is_in_the_segment(writer: SegmentWriter) -> None:
    """Numbers per partition, times, and quantities; the records read as before."""
    writer.begin("lane", 8, BEFORE)
    records = fill(writer, 3)
    writer.finish()
    reader = SegmentReader(writer.path)
    assert reader.footer() == Footer({2: 42, 3: 43, 4: 44}, 100, 102, 44, 3, {"tokens_in": 3})
    assert [record for _, record in reader.records()] == records


@given(numbers=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**15)), max_size=30))
def test_footers_of_parts_add_up_to_the_whole(numbers: list[tuple[int, int]]) -> None:
    """Wherever a lane is cut into segments."""
    whole, parts = Footer(), Footer()
    for cut in range(0, len(numbers), 7):
        part = Footer()
        for number, (partition, tokens) in enumerate(numbers[cut : cut + 7], start=cut + 1):
            record = usage_record(time_ms=number, tokens_in=tokens)
            part.add(number, partition, record)
            whole.add(number, partition, record)
        parts.extend(part)
    assert parts == whole


def test_a_footer_is_done_when_every_partition_is_past_it() -> None:
    """A partition that is not in it does not matter."""
    footer = Footer(last={1: 5, 2: 9})
    assert not footer.done({})
    assert not footer.done({1: 5, 2: 8})
    assert footer.done({1: 5, 2: 9})
    assert footer.done({1: 50, 2: 90, 3: 0})
    assert Footer().done({})


@pytest.mark.parametrize("partitions", [1, 64, 1024])
def test_a_footer_always_has_its_room(tmp_path: Path, partitions: int) -> None:
    """Also with every partition in it, sums beyond 64 bits, and more meters with every record."""
    writer = SegmentWriter.create(path_of(tmp_path, 1), 1 << 19)
    writer.begin("lane", partitions, Footer())
    number = 10**15
    while writer.room > 20_000:
        meters = {f"{'量' * 60}{number % 997}-{n}": Quantity(10**15) for n in range(40)}
        record = replace(usage_record(f"c{number}"), quantities=meters)
        writer.append(number, number % partitions, record)
        number += 1
    writer.finish()
    footer = SegmentReader(writer.path).footer()
    assert footer is not None
    assert footer.last_number == number - 1
    writer.close()


def test_the_room_for_a_footer_grows_with_its_meters() -> None:
    """A name takes more when it has quotes to be escaped, never more than twice."""
    assert footer_room(1, ['"' * 64]) - footer_room(1, ()) >= 128 + 22


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_cut_anywhere_leaves_a_segment(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Zeros from some byte on, as after a power cut: the records before, and no footer."""
    path = path_of(tmp_path_factory.mktemp("cut"), 1)
    writer = SegmentWriter.create(path, SIZE)
    writer.begin("lane", 8, BEFORE)
    records = fill(writer, 4)
    writer.finish()
    writer.close()
    whole = path.read_bytes()
    written = len(whole.rstrip(b"\0"))
    cut = data.draw(st.integers(0, written))
    path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
    reader = SegmentReader(path)
    found = [record for _, record in reader.records()]
    assert found == records[: len(found)]
    if cut < written:
        assert reader.footer() is None
    assert reader.before() in (Footer(), BEFORE)


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(deadline=None)
def test_any_file_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    """A damaged one has fewer records, never an error of the reader's own."""
    path = path_of(tmp_path_factory.mktemp("noise"), 1)
    writer = SegmentWriter.create(path, SIZE)
    writer.begin("lane", 8, BEFORE)
    fill(writer, 3)
    writer.finish()
    writer.close()
    content = bytearray(path.read_bytes())
    content[at : at + len(noise)] = noise
    path.write_bytes(bytes(content))
    reader = SegmentReader(path)
    assert len(list(reader.records())) <= 3
    reader.footer()
    reader.before()
    reader.mentions(b"c1")
    reader.trim()


def test_a_footer_that_points_at_something_else_is_none(writer: SegmentWriter) -> None:
    """Eight bytes of the header may reach the disk without the rest."""
    writer.begin("lane", 8, BEFORE)
    fill(writer, 3)
    for at in (64, 1, SIZE - 1, SIZE + 5, 2**63):
        os.pwrite(writer.handle, at.to_bytes(8, "little"), 56)
        assert SegmentReader(writer.path).footer() is None


def test_a_renamed_segment_is_read_on(writer: SegmentWriter) -> None:
    """By whoever knows its old name; one that is gone says so."""
    writer.begin("lane", 8, BEFORE)
    fill(writer, 3)
    reader = SegmentReader(writer.path)
    reading = reader.records()
    next(reading)
    to_audit(writer.path)
    assert len(list(reading)) == 2
    assert len(list(reader.records())) == 3
    writer.path.with_suffix(AUDIT).unlink()
    with pytest.raises(FileNotFoundError):
        list(reader.records())


def test_trimming_disturbs_no_reader(writer: SegmentWriter) -> None:
    """Who has the whole file mapped reads all of it: a file cut under a mapping would be a SIGBUS."""
    writer.begin("lane", 8, BEFORE)
    fill(writer, 3)
    writer.finish()
    reader = SegmentReader(writer.path)
    before = list(reader.records())
    with writer.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        reader.trim()
        assert view[SIZE - 1] == 0
    assert list(reader.records()) == before
    assert reader.footer() == writer.footer
    assert writer.path.stat().st_size < SIZE / 4


def test_segments_are_listed_in_order(tmp_path: Path) -> None:
    """Whatever else lies there; by kind if asked."""
    for name in ("00000010.segment", "00000002.audit", ".00000003.segment", "lane.json", "x.audit"):
        (tmp_path / name).touch()
    assert [path.name for path in segment_files(tmp_path)] == ["00000002.audit", "00000010.segment"]
    assert [path.name for path in segment_files(tmp_path, LIVE)] == ["00000010.segment"]
    assert segment_files(tmp_path / "gone") == []


def test_a_segment_that_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    """Its name is free for the next try."""
    with pytest.raises(OSError, match=r"too large|No space"):
        SegmentWriter.create(path_of(tmp_path, 1), 1 << 62)
    assert list(tmp_path.iterdir()) == []


def test_what_a_segment_mentions(writer: SegmentWriter) -> None:
    """Any bytes of its records."""
    writer.begin("lane", 8, BEFORE)
    fill(writer, 3)
    reader = SegmentReader(writer.path)
    assert reader.mentions(b'"c2"')
    assert not reader.mentions(b"somebody else")


def test_a_segment_may_be_closed_twice(writer: SegmentWriter) -> None:
    """The second time nothing happens."""
    writer.close()
    writer.close()
