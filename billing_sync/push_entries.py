"""The lines of the push log: a batch that is about to be pushed, what became of one, what a person
decided about a record, and corrections (correction_entries.py). Pure.

A line is JSON with a checksum over the very bytes of its entry, so that a torn or a damaged one is
told from a whole one.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from billing_sync.correction_entries import Adjusted, Assigned
from billing_sync.models import UsageRecord

_HEAD: Final = b'{"crc32":"%08x","entry":'
_HEAD_BYTES: Final = len(_HEAD % 0)
_TAIL: Final = b"}\n"
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what a column of the ledger takes


class Logged(msgspec.Struct, frozen=True):
    """A usage record, with everything that is needed to put it back into a ledger that lost it."""

    metering_sn: str
    instance_id: str
    customer_id: str
    product_id: str
    meter: str
    begin: Number
    end: Number
    recorded_at: Number
    quantity: Number
    value: str
    unit: Number
    relate_pkg_instance: str
    window: Number
    origins: str


class Claimed(msgspec.Struct, frozen=True, tag="claim"):
    """A batch about to be pushed. `records` are those that no earlier entry holds."""

    claim: str
    at: Number
    records: tuple[Logged, ...]


class Settled(msgspec.Struct, frozen=True, tag="outcome"):
    """What became of a batch. `accepted` are the serials the marketplace took."""

    claim: str
    at: Number
    kind: str
    accepted: tuple[str, ...] = ()


class Acted(msgspec.Struct, frozen=True, tag="act"):
    """A person's act on a record. `record` is there unless an earlier entry holds it."""

    id: str
    at: Number
    act: str
    author: str
    reason: str
    metering_sn: str
    record: Logged | None = None


Entry = Claimed | Settled | Acted | Adjusted | Assigned


def claimed(claim: str, at: int, batch: Iterable[UsageRecord]) -> Claimed:
    """The entry of a batch."""
    return Claimed(claim, at, tuple(logged(record) for record in batch if not record.logged))


def settled(claim: str, at: int, kind: str, accepted: Sequence[str]) -> Settled:
    """The entry of its outcome."""
    return Settled(claim, at, kind, tuple(accepted))


def logged(record: UsageRecord) -> Logged:
    """What an entry holds of a record."""
    return Logged(**{name: getattr(record, name) for name in Logged.__struct_fields__})


def line_of(entry: Entry) -> bytes:
    """The entry as a line of the log."""
    body = msgspec.json.encode(entry)
    return _HEAD % zlib.crc32(body) + body + _TAIL


def entry_of(line: bytes) -> Entry | None:
    """The entry of a line; None for one that is torn, damaged or none of ours."""
    body = line[_HEAD_BYTES : -len(_TAIL)]
    if not line.endswith(_TAIL) or line[:_HEAD_BYTES] != _HEAD % zlib.crc32(body):
        return None
    try:
        entry: Entry = msgspec.json.decode(body, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry
