"""The folders of lanes under `data_dir/journal`, and reading them: `explain`, `reconcile`, adoption.

    <lane>/lock           held by the owner while it lives
    <lane>/lane.json      whose it is
    <lane>/board          totals and open requests
    <lane>/NNNNNNNN.segment, later .audit
    <lane>/sealed.json    where it ends, once its owner is gone

A folder is made under a name with a dot and renamed when it is whole.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from metering.board import Open, Totals, read_totals
from metering.footers import Footer
from metering.locks import is_locked
from metering.partitions import partition_of
from metering.records_on_disk import Decoder
from metering.segment_reading import SegmentReader
from metering.segments import LIVE, segment_files
from metering.usage import UsageRecord

LOCK: Final = "lock"
INFO: Final = "lane.json"
BOARD: Final = "board"
SEALED: Final = "sealed.json"
UNFINISHED: Final = ".new-"


class LaneInfo(msgspec.Struct):
    """Whose lane it is. `made_at` is UTC ms."""

    lane: str
    partitions: int
    host: str
    pid: int
    made_at: int
    version: int = 1


class Sealed(msgspec.Struct):
    """Where a lane ends. `open` are the requests whose outcome nobody knows."""

    at: int
    end: int  # its last record's number
    last_ms: int
    records: int
    last: dict[int, int]  # each partition's last number
    quantities: dict[str, int]
    footers: dict[int, Footer]  # of the segments that have none of their own
    open: list[Open]


class State(StrEnum):
    """What a lane is now."""

    LIVE = "live"  # its owner holds the lock; or somebody who is just about to seal it
    DEAD = "dead"  # its owner is gone and nobody has sealed it
    SEALED = "sealed"  # it waits until the ledger holds everything
    RETIRED = "retired"  # audit trail
    UNREADABLE = "unreadable"  # damaged, or not ours to read: a person must look at it


class Entry(NamedTuple):
    """A record in its lane."""

    lane: str
    number: int
    partition: int
    record: UsageRecord


class Gap(NamedTuple):
    """Records that the retention took away; `ends` is each partition's last number among them."""

    first: int
    last: int
    ends: dict[int, int]


class Holdings(NamedTuple):
    """What of a lane is on this disk: the number of each partition's last record, and what is not."""

    last: dict[int, int]
    gone: list[Gap]


@dataclass(frozen=True)
class LaneFolder:
    """One lane on this disk. Reading it disturbs nobody, its owner included."""

    path: Path

    @property
    def lane_id(self) -> str:
        return self.path.name

    def info(self) -> LaneInfo:
        """Whose it is. Raises OSError or msgspec.MsgspecError for a folder that is no lane."""
        return msgspec.json.decode((self.path / INFO).read_bytes(), type=LaneInfo)

    def sealed(self) -> Sealed | None:
        """Where it ends; None while nobody has sealed it. Raises as `info`."""
        try:
            return msgspec.json.decode((self.path / SEALED).read_bytes(), type=Sealed)
        except FileNotFoundError:
            return None

    def state(self) -> State:
        """What it is at this moment."""
        try:
            self.info()
            if self.sealed() is None:  # a sealed lane may be locked by whoever adopts it
                return State.LIVE if is_locked(self.path / LOCK) else State.DEAD
        except (OSError, msgspec.MsgspecError):
            return State.UNREADABLE
        return State.SEALED if segment_files(self.path, LIVE) else State.RETIRED

    def totals(self) -> Totals:
        """Everything it was given: exact once sealed, a second old before, nothing if unreadable."""
        with suppress(OSError, msgspec.MsgspecError):
            sealed = self.sealed()
            if sealed is not None:
                return Totals(sealed.records, sealed.quantities)
        return read_totals(self.path / BOARD) or Totals()

    def segments(self) -> Iterator[SegmentReader]:
        """Its segments in order, the audit trail included."""
        decoder = Decoder()
        for path in segment_files(self.path):
            yield SegmentReader(path, decoder)

    def holdings(self) -> Holdings:
        """What of it is on this disk, as far as it is written now. Raises as `info`."""
        sealed = self.sealed()
        held = Holdings({}, [])
        end = 0
        for segment in self.segments():
            with suppress(FileNotFoundError):  # removed just now: the next one tells of it
                before = segment.before()
                part = sealed.footers.get(segment.number) if sealed else None
                part = part or segment.footer() or self._scanned(segment)
                _note_gap(held, end, before)
                held.last.update(part.last)
                end = max(end, before.last_number, part.last_number)
            if sealed is not None and end >= sealed.end:
                return held
        if sealed is not None:
            _note_gap(held, end, Footer(last=sealed.last, last_number=sealed.end))
        return held

    def _scanned(self, segment: SegmentReader) -> Footer:
        partitions = self.info().partitions
        found = Footer()
        for number, record in segment.records():
            found.add(number, partition_of(record.customer_id, partitions), record)
        return found

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Its records numbered above `after`, in order, up to its end.

        Segments that the retention removes meanwhile are left out.
        """
        partitions = self.info().partitions
        sealed = self.sealed()
        last = 0
        for segment in self.segments():
            with suppress(FileNotFoundError):
                footer = segment.footer()
                if footer is not None and footer.last_number <= after:
                    continue
                for last, record in segment.records():
                    if sealed is not None and last > sealed.end:
                        return
                    if last > after:
                        partition = partition_of(record.customer_id, partitions)
                        yield Entry(self.lane_id, last, partition, record)
                if footer is None or last != footer.last_number:
                    return  # it ends here: what follows a torn record is not believed


def _note_gap(held: Holdings, end: int, before: Footer) -> None:
    if before.last_number > end:
        ends = {partition: last for partition, last in before.last.items() if last > end}
        held.gone.append(Gap(end + 1, before.last_number, ends))


def lanes_in(journal: Path) -> list[LaneFolder]:
    """Every lane in the folder that can be read, oldest first."""
    made = []
    for lane in _folders(journal):
        with suppress(OSError, msgspec.MsgspecError):
            made.append((lane.info().made_at, lane.lane_id, lane))
    return [lane for _, _, lane in sorted(made, key=lambda each: each[:2])]


def unreadable_in(journal: Path) -> list[LaneFolder]:
    """The lanes that a person must look at: nobody adopts them."""
    return [lane for lane in _folders(journal) if lane.state() is State.UNREADABLE]


def _folders(journal: Path) -> list[LaneFolder]:
    """Whatever should be a lane, by name."""
    try:
        names = sorted(os.listdir(journal))
    except FileNotFoundError:
        return []
    found = [LaneFolder(journal / name) for name in names if not name.startswith(".")]
    return [lane for lane in found if os.path.lexists(lane.path / INFO)]


def ownerless(journal: Path, settled: set[str]) -> list[str]:
    """The lanes that nobody holds and that are not retired yet.

    `settled` are retired lanes; those that are found are added, and not looked at again.
    """
    found = []
    for lane in _folders(journal):
        if lane.lane_id in settled:
            continue
        state = lane.state()
        if state is State.RETIRED:
            settled.add(lane.lane_id)
        elif state is State.DEAD or (state is State.SEALED and not is_locked(lane.path / LOCK)):
            found.append(lane.lane_id)
    return found
