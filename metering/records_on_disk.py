"""One usage record as bytes of a segment. Pure.

    entry  = length u32 | CRC-32 u32 | body           little-endian; both are of the body
    body   = kind u8 | outcome u8, with REPEAT | status u16 | meters u8 | id length u8 | number u64 | time_ms u64
             | request id | value i64 × meters | grade u8 × meters | names
    names  = JSON [route, customer, [[instance, meter], …], [meter, …]]

An entry is written body first and head last, so a length of 0 is the end of what was written.
Entries of other kinds are JSON: what the lane held before the segment, and what the segment holds.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from metering.quantities import Kind, Quantities, compact, kind_of
from metering.usage import Charge, Grade, Outcome, UsageRecord

HEAD: Final = struct.Struct("<II")
USAGE: Final = 1
FOOTER: Final = 2
START: Final = 3
MAX_ENTRY: Final = 1 << 20  # a length above this is no length
REPEAT: Final = 0x80  # the highest bit of the outcome: UsageRecord.repeat

_FIXED: Final = struct.Struct("<BBHBBQQ")
_GRADES: Final = tuple(Grade)
_GRADE_CODES: Final = {grade: code for code, grade in enumerate(_GRADES)}
_OUTCOMES: Final = tuple(Outcome)
_COMPLETE: Final = _OUTCOMES[0]  # an enum's hash is computed in Python: the common one is known
_OUTCOME_CODES: Final = {outcome: code for code, outcome in enumerate(_OUTCOMES)}
_MAX_SHAPES: Final = 20_000

_write_head = HEAD.pack_into
_crc32 = zlib.crc32


class Shape(NamedTuple):
    """What records of one customer, route, charge list and kind of quantities have in common."""

    charges: tuple[Charge, ...]

    size: int  # of the entry, in bytes
    pack: Any  # Struct.pack of the body
    length: int  # of the body
    meters: int
    id_length: int
    rest: bytes  # grades and names


class Encoder:
    """Writes records; one prepared Struct per shape."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def shape_of(self, record: UsageRecord) -> Shape:
        """How a record like this is written. Raises ValueError for one that cannot be."""
        quantities = record.quantities
        if type(quantities) is not Quantities:
            quantities = compact(quantities)
        charges = record.charges
        key = (record.customer_id, record.route, quantities.kind, len(record.request_id))
        shape = self._shapes.get(key)
        if shape is None or (shape.charges is not charges and shape.charges != charges):
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = _shape(record, quantities.kind)
        return shape

    def size_of(self, record: UsageRecord) -> int:
        """How many bytes the entry takes."""
        return self.shape_of(record).size

    def write(self, view: memoryview, at: int, number: int, record: UsageRecord) -> int:
        """Write the entry at offset `at` of a writable view; the offset behind it.

        Raises ValueError and struct.error for a record that cannot be written; then it is not.
        """
        return write_record(self.shape_of(record), view, at, number, record)


def write_record(shape: Shape, view: memoryview, at: int, number: int, record: UsageRecord) -> int:
    """As `Encoder.write`, with the record's shape at hand."""
    _, size, pack, length, meters, id_length, rest = shape
    quantities = record.quantities
    if type(quantities) is not Quantities:
        quantities = compact(quantities)
    outcome = record.outcome
    code = 0 if outcome is _COMPLETE else _OUTCOME_CODES[outcome]
    body = pack(
        USAGE,
        code | REPEAT if record.repeat else code,
        record.status,
        meters,
        id_length,
        number,
        record.time_ms,
        record.request_id.encode("ascii"),
        *quantities.amounts,
        rest,
    )
    end = at + size
    view[at + 8 : end] = body
    _write_head(view, at, length, _crc32(body))
    return end


def _shape(record: UsageRecord, kind: Kind) -> Shape:
    names = msgspec.json.encode([record.route, record.customer_id, record.charges, kind.meters])
    id_length = len(record.request_id.encode())
    count = len(kind.meters)
    if id_length != len(record.request_id) or id_length > 255 or count > 255:
        raise ValueError("a request id is ASCII of at most 255 characters, with at most 255 meters")
    rest = bytes([_GRADE_CODES[grade] for grade in kind.grades]) + names
    layout = _layout(id_length, count, len(rest))
    size = layout.size
    if size > MAX_ENTRY:
        raise ValueError(f"a record takes at most {MAX_ENTRY} bytes")
    return Shape(record.charges, HEAD.size + size, layout.pack, size, count, id_length, rest)


@lru_cache(maxsize=1024)
def _layout(id_length: int, count: int, rest: int) -> struct.Struct:
    """One for all customers whose names are as long: it is not small."""
    return struct.Struct(f"{_FIXED.format}{id_length}s{count}q{rest}s")


class Decoder:
    """Reads records back; names are read once per shape."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, bytes], _Names] = {}

    def read(self, body: bytes) -> tuple[int, UsageRecord]:
        """Number and record of a usage body. Raises ValueError for anything else."""
        try:
            return self._read(body)
        except (struct.error, IndexError, KeyError, TypeError, msgspec.MsgspecError) as problem:
            raise ValueError("not a usage record") from problem

    def _read(self, body: bytes) -> tuple[int, UsageRecord]:
        _, outcome, status, count, id_length, number, time_ms = _FIXED.unpack_from(body)
        at = _FIXED.size
        request_id = body[at : at + id_length].decode("ascii")
        at += id_length
        amounts = struct.unpack_from(f"<{count}q", body, at)
        names = self._names_of(count, body[at + 8 * count :])
        return number, UsageRecord(
            request_id=request_id,
            time_ms=time_ms,
            route=names.route,
            customer_id=names.customer_id,
            status=status,
            outcome=_OUTCOMES[outcome & ~REPEAT],
            quantities=Quantities(names.kind, amounts),
            charges=names.charges,
            repeat=bool(outcome & REPEAT),
        )

    def _names_of(self, count: int, raw: bytes) -> "_Names":
        """What `count` grades and the names behind them say."""
        names = self._names.get((count, raw))
        if names is None:
            route, customer_id, charges, meters = msgspec.json.decode(raw[count:])
            grades = tuple([_GRADES[code] for code in raw[:count]])
            if not len(set(meters)) == len(meters) == len(grades) == count:
                raise ValueError("not one name and one grade for each amount")
            names = _Names(
                route,
                customer_id,
                tuple(Charge(*pair) for pair in charges),
                kind_of(tuple(meters), grades),
            )
            if len(self._names) >= _MAX_SHAPES:
                self._names.clear()
            self._names[count, raw] = names
        return names


class _Names(NamedTuple):
    route: str
    customer_id: str
    charges: tuple[Charge, ...]
    kind: Kind


def write_entry(buffer: Any, at: int, kind: int, content: bytes) -> int:
    """Write an entry of another kind; the offset behind it."""
    body = bytes([kind]) + content
    end = at + HEAD.size + len(body)
    buffer[at + HEAD.size : end] = body
    HEAD.pack_into(buffer, at, len(body), zlib.crc32(body))
    return end


def bodies(buffer: Any, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Every whole entry from `start` on, as (offset behind it, body), up to the first that is not.

    What was torn by a crash, or never reached the disk, is where this ends.
    """
    at = start
    while at + HEAD.size <= end:
        length, crc = HEAD.unpack_from(buffer, at)
        behind = at + HEAD.size + length
        if not 0 < length <= MAX_ENTRY or behind > end:
            return
        body = bytes(buffer[at + HEAD.size : behind])
        if zlib.crc32(body) != crc:
            return
        yield behind, body
        at = behind


def starts(buffer: Any, start: int, end: int) -> Iterator[int]:
    """Where each entry from `start` on begins, and where the last one ends; none of them is read."""
    at = start
    while at + HEAD.size <= end:
        yield at
        length, _ = HEAD.unpack_from(buffer, at)
        behind = at + HEAD.size + length
        if not 0 < length <= MAX_ENTRY or behind > end:
            return
        at = behind
    yield at
