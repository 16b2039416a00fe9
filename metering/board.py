"""A lane's board: its totals and its table of open requests, in one mapped file.

A slot is written before its request goes upstream and cleared when the request's record is
written, by one byte that is written last and cleared first. What stands in the slots of a dead
process are the requests whose outcome nobody knows. A text too long for its slot is cut: the route
first, then the customer, the request id never.
"""

import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from metering.allocation import allocate
from metering.usage import Account

SLOTS: Final = 8192
_SLOT: Final = 512
_PAGE: Final = 4096
_TOTALS: Final = struct.Struct("<II")
_FIXED: Final = struct.Struct("<QHHH")  # start, and the lengths of request id, customer, route
_TEXT_AT: Final = 1 + _FIXED.size
_MAX_TEXT: Final = _SLOT - _TEXT_AT
_write_slot: Final = struct.Struct(f"{_FIXED.format}{_MAX_TEXT}s").pack_into
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")  # in no id of ours
_MAX_TIME: Final = 2**63 - 1  # what a finding may say


class Open(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A request that was sent upstream, as its slot says it. `started` is UTC ms."""

    request_id: str
    customer_id: str
    route: str
    started: int


class Totals(msgspec.Struct):
    """Everything a lane was ever given."""

    records: int = 0
    quantities: dict[str, int] = {}

    def plus(self, records: int, quantities: Mapping[str, int]) -> "Totals":
        """These and those."""
        total = dict(self.quantities)
        for meter, quantity in quantities.items():
            total[meter] = total.get(meter, 0) + quantity
        return Totals(self.records + records, total)


class NoSlot(Exception):
    """Too many requests are open at once."""


class Board:
    """Owned by one process; others read it with `read_open` and `read_totals`."""

    def __init__(self, path: Path, slots: int = SLOTS) -> None:
        """Make the file. Raises OSError."""
        size = _PAGE + slots * _SLOT
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate(self.handle, size)
            self._map = mmap.mmap(self.handle, size)
        except BaseException:
            os.close(self.handle)
            raise
        self._free = list(range(slots - 1, -1, -1))
        self._slots = slots

    @property
    def open(self) -> int:
        """How many requests are open."""
        return self._slots - len(self._free)

    def enter(self, request: Open) -> int:
        """Write the request into a slot. Raises NoSlot."""
        account = Account(request.customer_id, request.route)
        return self.write(request.request_id, account, request.started)

    def write(self, request_id: str, account: Account, started_ms: int) -> int:
        """The same of what is booked to an account."""
        if not self._free:
            raise NoSlot
        text = request_id.encode()
        own = len(text)
        names = account.names
        if not names:
            customer_id = account.customer_id.encode()
            names = account.names = customer_id + account.route.encode()
            account.names_cut = len(customer_id)
        customer = account.names_cut
        path = len(names) - customer
        text += names
        if len(text) > _MAX_TEXT:
            texts = _cut([text[:own], names[:customer], names[customer:]])
            text = b"".join(texts)
            own, customer, path = map(len, texts)
        slot = self._free[-1]
        at = _PAGE + slot * _SLOT
        _write_slot(self._map, at + 1, started_ms, own, customer, path, text)
        self._map[at] = 1
        self._free.pop()
        return slot

    def clear(self, slot: int) -> None:
        """The request's outcome is known."""
        self._map[_PAGE + slot * _SLOT] = 0
        self._free.append(slot)

    def say(self, totals: Totals) -> None:
        """Show the totals to whoever reads the file. What does not fit on the page is left out."""
        content = msgspec.json.encode(totals)
        if len(content) <= _PAGE - _TOTALS.size:
            head = _TOTALS.pack(len(content), zlib.crc32(content))
            self._map[: len(head) + len(content)] = head + content

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self.handle >= 0:
            self._map.close()
            os.close(self.handle)
            self.handle = -1


def _cut(texts: list[bytes]) -> list[bytes]:
    """What fits, in whole characters; the first ones have precedence."""
    left, cut = _MAX_TEXT, []
    for text in texts:
        part = text[:left].decode(errors="ignore").encode()
        cut.append(part)
        left -= len(part)
    return cut


def read_open(path: Path) -> Iterator[Open]:
    """The requests in the slots; none where the file is gone. Raises OSError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return
    for at in range(_PAGE, len(raw) - _SLOT + 1, _SLOT):
        if raw[at]:
            yield _open(raw[at + 1 : at + _SLOT])


def _open(body: bytes) -> Open:
    """What the slot says; after a power cut that may be nothing that can be read, but can be told."""
    started, *lengths = _FIXED.unpack_from(body)
    texts, at = [], _FIXED.size
    for length in lengths:
        text = body[at : at + length].decode(errors="replace")
        texts.append(_CONTROL.sub("\ufffd", text))
        at += length
    return Open(texts[0], texts[1], texts[2], min(started, _MAX_TIME))


def read_totals(path: Path) -> Totals | None:
    """What the owner said last; None when it cannot be read at this moment."""
    try:
        with path.open("rb") as file:
            page = file.read(_PAGE)
        length, crc = _TOTALS.unpack_from(page)
        content = page[_TOTALS.size : _TOTALS.size + length]
        return msgspec.json.decode(content, type=Totals) if zlib.crc32(content) == crc else None
    except (OSError, struct.error, msgspec.MsgspecError):
        return None
