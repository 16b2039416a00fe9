"""Looks for requests in the journals of this disk, the audit trail included, without reading it all.

A segment is searched for the bytes of an id first; only one that has them is decoded.
"""

from bisect import insort
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from metering.board import Open, read_open
from metering.lanes import BOARD, Entry, LaneFolder, State, lanes_in
from metering.partitions import partition_of
from metering.segment_reading import SegmentReader
from metering.windows import window_of


class Hit(NamedTuple):
    """A record, and the lane it stands in."""

    entry: Entry
    host: str
    state: State


class OpenHit(NamedTuple):
    """A request without a record in a lane: under way while it is live, else uncertain."""

    request: Open
    lane: str
    state: State


def find_records(journal: Path, request_id: str) -> list[Hit]:
    """Every record of the request: one, if all is well."""
    return [
        Hit(entry, lane.info().host, lane.state())
        for lane in lanes_in(journal)
        for segment in _mentioning(lane, request_id.encode())
        for entry in _entries(lane, segment)
        if entry.record.request_id == request_id
    ]


def find_open(journal: Path, request_id: str) -> list[OpenHit]:
    """Where the request is open. Its record decides, if there is one."""
    found = []
    for lane in lanes_in(journal):
        with suppress(OSError, msgspec.MsgspecError):  # gone, or damaged
            sealed = lane.sealed()
            opened = sealed.open if sealed else read_open(lane.path / BOARD)
            found += [
                OpenHit(each, lane.lane_id, lane.state())
                for each in opened
                if each.request_id == request_id
            ]
    return found


@dataclass
class Charges:
    """What calls of some hours charged to an instance by a meter; `first` are the earliest calls."""

    instance_id: str
    meter: str
    windows: frozenset[int]
    limit: int
    calls: dict[int, int] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=dict)
    first: list[Entry] = field(default_factory=list)

    def find(self, journal: Path) -> None:
        """Read whatever may hold one."""
        for lane in lanes_in(journal):
            for segment in _mentioning(lane, msgspec.json.encode(self.instance_id)[1:-1]):
                if self._overlaps(segment):
                    for entry in _entries(lane, segment):
                        self._add(entry)

    def _overlaps(self, segment: SegmentReader) -> bool:
        with suppress(FileNotFoundError):
            footer = segment.footer()
            return footer is None or (
                window_of(footer.first_ms) <= max(self.windows, default=0)
                and window_of(footer.last_ms) >= min(self.windows, default=0)
            )
        return False

    def _add(self, entry: Entry) -> None:
        record = entry.record
        window = window_of(record.time_ms)
        if window not in self.windows or (self.instance_id, self.meter) not in record.charges:
            return
        quantity = record.quantities.get(self.meter)
        self.calls[window] = self.calls.get(window, 0) + 1
        self.used[window] = self.used.get(window, 0) + (quantity.value if quantity else 0)
        insort(self.first, entry, key=_age)
        del self.first[self.limit :]


def _age(entry: Entry) -> tuple[int, str, int]:
    return entry.record.time_ms, entry.lane, entry.number


def _mentioning(lane: LaneFolder, text: bytes) -> Iterator[SegmentReader]:
    for segment in lane.segments():
        with suppress(FileNotFoundError):
            if segment.mentions(text):
                yield segment


def _entries(lane: LaneFolder, segment: SegmentReader) -> Iterator[Entry]:
    """The segment's records, but for what lies behind the lane's end."""
    with suppress(OSError, msgspec.MsgspecError):  # gone, or damaged
        partitions, sealed = lane.info().partitions, lane.sealed()
        for number, record in segment.records():
            if sealed is not None and number > sealed.end:
                return
            yield Entry(lane.lane_id, number, partition_of(record.customer_id, partitions), record)
