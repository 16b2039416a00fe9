"""Reads the journals of this disk: what they hold by place, and what became of each lane.

Lanes are read as they are, the audit trail included, while their owners write on and the retention
removes. What it has removed is noticed after the reading: hours that may lack some of it are left
out (`covered_from`), and numbers that are missing for any other reason are `missing`.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from metering.board import Open, read_open
from metering.footers import Footer
from metering.lanes import BOARD, Entry, LaneFolder, Sealed, State, lanes_in, unreadable_in
from metering.usage import UsageRecord
from metering.windows import window_of
from tallygate.reconciliation.tallying import Tally
from tallygate.reconciliation.terms import Numbers, Span, Stood

_TELL_EVERY: Final = 20_000  # records


@dataclass
class LaneSeen:
    """One lane of this disk. `end` is its last record's number; 0 is none.

    Up to `counted_through` all its records are in Redis or the ledger, up to `booked_through` all
    are in the ledger. `over_ms` is when it was sealed, or found without having been. `open` are
    requests without a record: under way while the lane is live, else uncertain. Times are UTC ms.
    """

    lane: str
    host: str
    state: State
    records: int = 0
    removed_through: int = 0
    end: int = 0
    counted_through: int = 0
    booked_through: int = 0
    on_the_way: int = 0
    last_ms: int = 0
    over_ms: int = 0
    open: tuple[Open, ...] = ()
    missing: list[Numbers] = field(default_factory=list)
    unexplained: dict[int, Numbers] = field(default_factory=dict)  # by partition


@dataclass
class Trail:
    """Everything on this disk. `covered_from` is the first window of which nothing was removed.

    `unreadable` are lanes that a person must look at.
    """

    tally: Tally = field(default_factory=Tally)
    lanes: list[LaneSeen] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    covered_from: int = 0


class Left(NamedTuple):
    """What the retention has left of a lane: its first record's number, and the first whole window."""

    number: int
    window: int


def read_trail(
    journal: Path, stood: Stood, span: Span, now_ms: int, told: Callable[[int], None]
) -> Trail:
    """Read every lane. `told` hears now and then how many records were read. Raises OSError."""
    trail = Trail(unreadable=[lane.lane_id for lane in unreadable_in(journal)])
    read = count(1)
    for lane in lanes_in(journal):
        if lane.lane_id in trail.unreadable:
            continue
        with suppress(FileNotFoundError):  # the retention has removed it whole
            reader = _Reader(lane, stood, span)
            for entry in reader.entries():
                reader.add(entry, trail.tally)
                done = next(read)
                if not done % _TELL_EVERY:
                    told(done)
            left = left_of(lane, reader.seen.end, now_ms)
            trail.lanes.append(reader.finish(left, now_ms))
            trail.covered_from = max(trail.covered_from, left.window)
    return trail


class _Reader:
    """One lane, from what is known before its records are read."""

    def __init__(self, lane: LaneFolder, stood: Stood, span: Span) -> None:
        self.seen = LaneSeen(lane.lane_id, lane.info().host, lane.state())
        self._lane = lane
        self._span = span
        self._positions = stood.position(lane.lane_id)
        self._checkpoints = stood.checkpoint(lane.lane_id)
        self._sealed = lane.sealed()
        # Before the records: what ends in between is found among them.
        self._open = _open(lane, self._sealed)
        self._written = _written(lane, self._sealed)
        self._uncounted = self._unbooked = 0  # the first number of those that are not

    def entries(self) -> Iterator[Entry]:
        """Its records but for segments that lie before the span and are in the ledger."""
        seen = self.seen
        for footer in self._passed_over():
            seen.records += footer.records
            seen.end, seen.last_ms = footer.last_number, footer.last_ms
        return self._lane.entries(after=seen.end)

    def _passed_over(self) -> Iterator[Footer]:
        started = (each.started for some in self._open.values() for each in some)
        begins = min([self._span.begins_ms, *started])
        number = min(self._written, default=0)
        while (written := self._written.get(number)) is not None:
            footer = written.footer
            if footer is None or footer.last_ms >= begins or not footer.done(self._checkpoints):
                return
            yield footer
            number += 1

    def add(self, entry: Entry, tally: Tally) -> None:
        """The next record."""
        seen, (_, number, partition, record) = self.seen, entry
        if number != seen.end + 1:
            seen.missing.append(Numbers(seen.end + 1, number - 1))
        seen.records += 1
        seen.end, seen.last_ms = number, record.time_ms
        counted = number <= self._positions.get(partition, 0)
        if not counted:
            seen.on_the_way += 1
            self._uncounted = self._uncounted or number
        if number > self._checkpoints.get(partition, 0):
            self._unbooked = self._unbooked or number
        if record.request_id in self._open:
            self._ended(record)
        if self._span.holds(window_of(record.time_ms)):
            tally.add(record, counted=counted)

    def _ended(self, record: UsageRecord) -> None:
        """Whatever was begun before under its id."""
        opened = self._open.pop(record.request_id)
        later = [each for each in opened if each.started > record.time_ms]
        if later:
            self._open[record.request_id] = later

    def finish(self, left: Left, now_ms: int) -> LaneSeen:
        """All are read."""
        seen, sealed = self.seen, self._sealed
        seen.removed_through = left.number - 1
        seen.counted_through = self._uncounted - 1 if self._uncounted else seen.end
        seen.booked_through = self._unbooked - 1 if self._unbooked else seen.end
        seen.open = tuple(each for some in self._open.values() for each in some)
        seen.over_ms = max(sealed.at if sealed else now_ms, seen.last_ms)
        end = sealed.end if sealed else seen.end
        if seen.state is not State.LIVE:
            seen.unexplained = {
                partition: Numbers(end + 1, position)
                for partition, position in sorted(self._positions.items())
                if position > end
            }
        seen.missing = _not_removed(self._missing(), seen.removed_through)
        return seen

    def _missing(self) -> list[Numbers]:
        """Also what must be behind its end: what is sealed, closed or applied was written."""
        if self._sealed:
            end = self._sealed.end
        else:
            end = max((written.through for written in self._written.values()), default=0)
            if self.seen.state is State.LIVE:
                end = max(end, *self._positions.values(), 0)
        behind = [Numbers(self.seen.end + 1, end)] if end > self.seen.end else []
        return self.seen.missing + behind


class _Written(NamedTuple):
    """What a segment says of itself: through which number the lane had come, and its footer."""

    through: int
    footer: Footer | None


def _written(lane: LaneFolder, sealed: Sealed | None) -> dict[int, _Written]:
    """By the number of the segment; those that the retention removes just now are left out."""
    found = {}
    for segment in lane.segments():
        with suppress(FileNotFoundError):
            before = segment.before().last_number
            footer = sealed.footers.get(segment.number) if sealed else None
            footer = footer or segment.footer()
            through = max(before, footer.last_number if footer else 0)
            found[segment.number] = _Written(through, footer)
    return found


def _open(lane: LaneFolder, sealed: Sealed | None) -> dict[str, list[Open]]:
    """The open requests by their ids, which a peer may have given twice."""
    found: dict[str, list[Open]] = {}
    for each in sealed.open if sealed else read_open(lane.path / BOARD):
        found.setdefault(each.request_id, []).append(each)
    return found


def _not_removed(missing: list[Numbers], through: int) -> list[Numbers]:
    clipped = [Numbers(max(first, through + 1), last) for first, last in missing]
    return [each for each in clipped if each.first <= each.last]


def left_of(lane: LaneFolder, end: int, now_ms: int) -> Left:
    """Ask after the reading: what was removed meanwhile counts as removed.

    `end` is the last number that is known of a lane nobody has sealed.
    """
    for segment in lane.segments():
        with suppress(FileNotFoundError):
            before = segment.before()
            if segment.number == 1 or before.last_number:
                return _behind(before.last_number, before.last_ms)
    sealed = lane.sealed()
    if sealed is not None:
        return _behind(sealed.end, sealed.last_ms)
    return _behind(end, now_ms)


def _behind(number: int, last_ms: int) -> Left:
    return Left(number + 1, window_of(last_ms) + 1 if number else 0)
