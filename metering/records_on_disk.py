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
from metering.usage import Account, Charge, Grade, Outcome, UsageRecord

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
_MAX_NAMES: Final = 20_000

_write_head = HEAD.pack_into
_crc32 = zlib.crc32


class Form(NamedTuple):
    """What records of one kind have in common whose names are as long. One for all customers."""

    kind: Kind
    id_length: int
    size: int  # of the entry, in bytes
    length: int  # of the body
    meters: int
    pack: Any  # Struct.pack of the body
    before: bytes  # what stands before the account's own names: grades, and names
    after: bytes


def form_of(record: UsageRecord) -> Form:
    """How it is written, which stays with its account for the next. Raises ValueError where it cannot be."""
    account, quantities = record.account, record.quantities
    if type(quantities) is not Quantities:
        quantities = compact(quantities)
    form: Form | None = account.form
    if form is None or form.kind is not quantities.kind or form.id_length != len(record.request_id):
        form = _prepare(record, quantities.kind)
    return form


def _prepare(record: UsageRecord, kind: Kind) -> Form:
    account = record.account
    if not account.rest:
        encode = msgspec.json.encode
        account.rest = b"%b,%b" % (encode(account.customer_id), encode(account.charges))
    id_length = len(record.request_id.encode())
    if id_length != len(record.request_id) or id_length > 255 or len(kind.meters) > 255:
        raise ValueError("a request id is ASCII of at most 255 characters, with at most 255 meters")
    form = _form(kind, account.route, id_length, len(account.rest))
    if form.length > MAX_ENTRY:
        raise ValueError(f"a record takes at most {MAX_ENTRY} bytes")
    account.form = form
    return form


def size_of(record: UsageRecord) -> int:
    """How many bytes the entry takes."""
    return form_of(record).size


def write(view: memoryview, at: int, number: int, record: UsageRecord) -> int:
    """Write the entry at offset `at` of a writable view; the offset behind it.

    Raises ValueError and struct.error for a record that cannot be written; then it is not.
    """
    return write_record(form_of(record), view, at, number, record)


def write_record(form: Form, view: memoryview, at: int, number: int, record: UsageRecord) -> int:
    """As `write`, right behind `form_of`."""
    _, id_length, size, length, meters, pack, before, after = form
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
        before,
        record.account.rest,
        after,
    )
    end = at + size
    view[at + 8 : end] = body
    _write_head(view, at, length, _crc32(body))
    return end


@lru_cache(maxsize=1024)
def _form(kind: Kind, route: str, id_length: int, own: int) -> Form:
    count = len(kind.meters)
    grades = bytes([_GRADE_CODES[grade] for grade in kind.grades])
    before = grades + b"[%b," % msgspec.json.encode(route)
    after = b",%b]" % msgspec.json.encode(kind.meters)
    layout = struct.Struct(f"{_FIXED.format}{id_length}s{count}q{len(before)}s{own}s{len(after)}s")
    size = layout.size
    return Form(kind, id_length, HEAD.size + size, size, count, layout.pack, before, after)


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
            account=names.account,
            status=status,
            outcome=_OUTCOMES[outcome & ~REPEAT],
            quantities=Quantities(names.kind, amounts),
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
            account = Account(customer_id, route, tuple(Charge(*pair) for pair in charges))
            names = _Names(account, kind_of(tuple(meters), grades))
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            self._names[count, raw] = names
        return names


class _Names(NamedTuple):
    account: Account
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
