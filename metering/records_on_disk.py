"""One usage record as bytes of a segment. Pure.

    entry  = length u32 | CRC-32 u32 | body           little-endian; both are of the body
    body   = kind u8 | outcome u8 | status u16 | meters u8 | id length u8 | number u64 | time_ms u64
             | request id | value i64 × meters | grade u8 × meters | names
    names  = JSON [route, customer, [[instance, meter], …], [meter, …]]

An entry is written body first and head last, so a length of 0 is the end of what was written.
Entries of other kinds are JSON: what the lane held before the segment, and what the segment holds.
"""

import struct
import zlib
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from metering.usage import Charge, Grade, Outcome, Quantity, UsageRecord

HEAD: Final = struct.Struct("<II")
USAGE: Final = 1
FOOTER: Final = 2
START: Final = 3
MAX_ENTRY: Final = 1 << 20  # a length above this is no length

_FIXED: Final = struct.Struct("<BBHBBQQ")
_GRADES: Final = tuple(Grade)
_GRADE_CODES: Final = {grade: code for code, grade in enumerate(_GRADES)}
_OUTCOMES: Final = tuple(Outcome)
_COMPLETE: Final = _OUTCOMES[0]  # an enum's hash is computed in Python: the common one is known
_OUTCOME_CODES: Final = {outcome: code for code, outcome in enumerate(_OUTCOMES)}
_MAX_SHAPES: Final = 20_000

_write_head = HEAD.pack_into
_crc32 = zlib.crc32
_value_of = itemgetter(0)
_grade_of = itemgetter(1)


class _Shape(NamedTuple):
    """What records of one customer, route, charge list and set of meters have in common."""

    pack_into: Any  # Struct.pack_into: everything behind the entry's head
    length: int
    meters: int
    names: bytes
    exact: list[Grade]
    exact_codes: bytes


class Encoder:
    """Writes records; one prepared Struct per shape."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Any, ...], _Shape] = {}

    def shape_of(self, record: UsageRecord) -> _Shape:
        """How a record like this is written. Raises ValueError for one that cannot be."""
        quantities = record.quantities
        key = (
            record.customer_id,
            record.route,
            record.charges,
            *quantities,
            len(record.request_id),
        )
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = _shape(record)
        return shape

    def size_of(self, record: UsageRecord) -> int:
        """How many bytes the entry takes."""
        return HEAD.size + self.shape_of(record).length

    def write(self, view: memoryview, at: int, number: int, record: UsageRecord) -> int:
        """Write the entry at offset `at` of a writable view; the offset behind it.

        Raises ValueError and struct.error for a record that cannot be written; then it is not.
        """
        pack_into, length, meters, names, exact, codes = self.shape_of(record)
        quantities = record.quantities.values()
        grades = list(map(_grade_of, quantities))
        start = at + 8
        end = start + length
        pack_into(
            view,
            start,
            USAGE,
            0 if record.outcome is _COMPLETE else _OUTCOME_CODES[record.outcome],
            record.status,
            meters,
            len(record.request_id),
            number,
            record.time_ms,
            record.request_id.encode("ascii"),
            *map(_value_of, quantities),
            codes if grades == exact else _codes(grades),
            names,
        )
        _write_head(view, at, length, _crc32(view[start:end]))
        return end


def _shape(record: UsageRecord) -> _Shape:
    meters = list(record.quantities)
    names = msgspec.json.encode([record.route, record.customer_id, record.charges, meters])
    id_length = len(record.request_id.encode())
    if id_length != len(record.request_id) or id_length > 255 or len(meters) > 255:
        raise ValueError("a request id is ASCII of at most 255 characters, with at most 255 meters")
    count = len(meters)
    layout = struct.Struct(f"{_FIXED.format}{id_length}s{count}q{count}s{len(names)}s")
    if layout.size > MAX_ENTRY:
        raise ValueError(f"a record takes at most {MAX_ENTRY} bytes")
    exact = [Grade.EXACT] * count
    return _Shape(layout.pack_into, layout.size, count, names, exact, _codes(exact))


def _codes(grades: list[Grade]) -> bytes:
    return bytes([_GRADE_CODES[grade] for grade in grades])


class Decoder:
    """Reads records back; names are read once per shape."""

    def __init__(self) -> None:
        self._names: dict[bytes, tuple[str, str, tuple[Charge, ...], list[str]]] = {}

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
        values = struct.unpack_from(f"<{count}q", body, at)
        at += 8 * count
        grades = body[at : at + count]
        route, customer_id, charges, meters = self._names_of(body[at + count :])
        quantities = {
            meter: Quantity(value, _GRADES[code])
            for meter, value, code in zip(meters, values, grades, strict=True)
        }
        return number, UsageRecord(
            request_id=request_id,
            time_ms=time_ms,
            route=route,
            customer_id=customer_id,
            status=status,
            outcome=_OUTCOMES[outcome],
            quantities=quantities,
            charges=charges,
        )

    def _names_of(self, raw: bytes) -> tuple[str, str, tuple[Charge, ...], list[str]]:
        names = self._names.get(raw)
        if names is None:
            route, customer_id, charges, meters = msgspec.json.decode(raw)
            names = (route, customer_id, tuple(Charge(*pair) for pair in charges), meters)
            if len(self._names) >= _MAX_SHAPES:
                self._names.clear()
            self._names[raw] = names
        return names


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
