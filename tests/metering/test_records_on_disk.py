"""The codec of a record: what is written is read back, and what is torn ends the reading."""

import struct
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.records_on_disk import (
    HEAD,
    MAX_ENTRY,
    USAGE,
    Decoder,
    bodies,
    size_of,
    write,
    write_entry,
)
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
from tests.fakes import usage_record

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=64
)
REQUEST_IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=255)
QUANTITIES = st.builds(
    Quantity, st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10**15), st.sampled_from(Grade)
)
RECORDS = st.builds(
    UsageRecord,
    request_id=REQUEST_IDS,
    time_ms=st.integers(0, 2**64 - 1),
    account=st.builds(
        Account,
        NAMES | st.just("客户" * 32),
        NAMES,
        st.lists(st.builds(Charge, NAMES, NAMES), max_size=4).map(tuple),
    ),
    status=st.integers(0, 2**16 - 1),
    outcome=st.sampled_from(Outcome),
    quantities=st.dictionaries(NAMES, QUANTITIES, max_size=12),
    repeat=st.booleans(),
)


def written(records: Sequence[UsageRecord], room: int = 256) -> tuple[bytes, list[int]]:
    """The records one after the other, numbered from 1, and where each one ends."""
    buffer = bytearray(sum(size_of(record) for record in records) + room)
    ends, at = [], 0
    for number, record in enumerate(records, start=1):
        at = write(memoryview(buffer), at, number, record)
        ends.append(at)
    return bytes(buffer), ends


def read(buffer: bytes) -> list[tuple[int, UsageRecord]]:
    decoder = Decoder()
    return [decoder.read(body) for _, body in bodies(buffer, 0, len(buffer))]


@given(st.lists(RECORDS, max_size=8))
@settings(deadline=None)
def test_every_record_is_read_back(records: list[UsageRecord]) -> None:
    """Whatever its names, meters, grades, outcome and values."""
    buffer, _ = written(records)
    assert read(buffer) == list(enumerate(records, start=1))


@given(st.lists(RECORDS, min_size=1, max_size=8))
@settings(deadline=None)
def test_the_size_is_known_before(records: list[UsageRecord]) -> None:
    """What `size_of` says is what `write` takes."""
    _, ends = written(records)
    sizes = [size_of(record) for record in records]
    assert ends == [sum(sizes[: n + 1]) for n in range(len(sizes))]


@given(RECORDS, RECORDS)
@settings(deadline=None, max_examples=20)
def test_reading_ends_before_an_entry_cut_anywhere(first: UsageRecord, last: UsageRecord) -> None:
    """As a power cut leaves it: zeros from some byte of the last entry on."""
    buffer, (end, behind) = written([first, last])
    for cut in range(end, behind):
        torn = buffer[:cut] + bytes(len(buffer) - cut)
        if torn != buffer:
            assert read(torn) == [(1, first)], cut
        assert read(buffer[:cut]) == [(1, first)], cut


def test_reading_ends_before_an_entry_with_any_byte_wrong() -> None:
    """Length, sum and body alike."""
    first, last = usage_record("客户", tokens_in=5), usage_record("b", tokens_in=7, requests=1)
    buffer, (end, behind) = written([first, last])
    for at in range(end, behind):
        for flip in (1, 0x80, 0xFF):
            torn = bytearray(buffer)
            torn[at] ^= flip
            assert read(bytes(torn)) == [(1, first)], at


@given(st.binary(max_size=400))
def test_any_bytes_can_be_read(noise: bytes) -> None:
    """What is no entry ends the reading; a sound entry that is no record says so."""
    for behind, _ in bodies(noise, 0, len(noise)):
        assert behind <= len(noise)


@given(st.binary(max_size=200))
def test_a_sound_entry_that_is_no_record_is_a_value_error(content: bytes) -> None:
    """Another version's record, perhaps."""
    buffer = bytearray(len(content) + 64)
    write_entry(buffer, 0, USAGE, content)
    ((_, body),) = bodies(bytes(buffer), 0, len(buffer))
    with suppress(ValueError):
        Decoder().read(body)


@pytest.mark.parametrize("request_id", ["é", "x" * 256, "请求"])
def test_a_request_id_that_does_not_fit_is_refused(request_id: str) -> None:
    """Nothing is written, so nothing is there that could not be read."""
    record = UsageRecord(request_id, 1, Account("c", "chat"), 200, Outcome.COMPLETE)
    with pytest.raises(ValueError, match="request id"):
        size_of(record)


def test_one_request_id_does_not_vouch_for_the_next() -> None:
    """The shape of an ASCII id of the same length is known; the id that is none is refused still."""
    account = Account("c", "chat")
    good = UsageRecord("ab", 1, account, 200, Outcome.COMPLETE)
    bad = UsageRecord("é€", 1, account, 200, Outcome.COMPLETE)
    buffer = bytearray(1024)
    write(memoryview(buffer), 0, 1, good)
    with pytest.raises(ValueError, match="ascii"):
        write(memoryview(buffer), 0, 1, bad)


def test_a_record_too_long_to_be_read_is_not_written() -> None:
    """A length above the bound would end the reading for everything behind it."""
    charges = tuple(Charge("i" * 64, "m" * 64) for _ in range(MAX_ENTRY // 128))
    record = UsageRecord("r", 1, Account("c", "chat", charges), 200, Outcome.COMPLETE)
    with pytest.raises(ValueError, match="at most"):
        size_of(record)


@pytest.mark.parametrize("time_ms", [-1, 2**64])
def test_a_value_out_of_bounds_is_refused(time_ms: int) -> None:
    """And what follows is written as if nothing had been."""
    buffer = bytearray(2048)
    with pytest.raises(struct.error):
        write(memoryview(buffer), 0, 1, usage_record(time_ms=time_ms, requests=1))
    assert read(bytes(buffer)) == []
    write(memoryview(buffer), 0, 1, usage_record(requests=1))
    assert read(bytes(buffer)) == [(1, usage_record(requests=1))]


def test_more_shapes_than_are_remembered_are_written_all_the_same() -> None:
    """Only the memory of how to write them is bounded, on both sides."""
    records = [usage_record(f"customer-{n}", requests=n) for n in range(20_050)]
    buffer, _ = written(records)
    assert read(buffer) == list(enumerate(records, start=1))


def test_the_length_is_little_endian() -> None:
    """The layout is what the docstring says: files outlive the program that wrote them."""
    buffer, (end,) = written([usage_record(requests=1)])
    length, _ = HEAD.unpack_from(buffer)
    assert length == end - HEAD.size
    assert buffer[HEAD.size] == USAGE
