"""Seals a lane whose owner is gone: finds its end and what was open. Nothing in it changes.

1. the lane's lock is taken     by the caller, who alone may go on
2. its segments are read to the last whole record
3. sealed.json is written beside, synced and renamed    before that the next one begins at 2 again
"""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from metering.board import Open, read_open
from metering.footers import Footer
from metering.lanes import BOARD, SEALED, LaneFolder, Sealed
from metering.partitions import partition_of
from metering.segment_reading import SegmentReader
from metering.segments import AUDIT, LIVE, replace, segment_files, to_audit


def seal(lane: LaneFolder, now_ms: int) -> Sealed:
    """Where the lane ends, now and for ever. Hold its lock. Raises OSError."""
    known = lane.sealed()
    if known is not None:
        return known
    sealed = _read(lane, now_ms)
    replace(lane.path / SEALED, msgspec.json.encode(sealed))
    return sealed


def _read(lane: LaneFolder, now_ms: int) -> Sealed:
    partitions = lane.info().partitions
    whole = Footer()
    own: dict[int, Footer] = {}
    slots = _Slots(read_open(lane.path / BOARD))
    for segment in lane.segments():
        before, footer = segment.before(), segment.footer()
        if before.last_number > whole.last_number:
            whole = before  # the retention took what lies between
        if footer is not None and segment.path.suffix == AUDIT and footer.last_ms < slots.since:
            whole.extend(footer)  # it stands in the ledger, so it was whole
            continue
        found = Footer()
        for number, record in segment.records():
            found.add(number, partition_of(record.customer_id, partitions), record)
            slots.ended(record.request_id, record.time_ms)
        whole.extend(found)
        if footer is None or footer.last_number != found.last_number:
            own[segment.number] = found
            break  # it ends here: what follows a torn record is not believed
    return Sealed(
        at=now_ms,
        end=whole.last_number,
        last_ms=whole.last_ms,
        records=whole.records,
        last=whole.last,
        quantities=whole.quantities,
        footers=own,
        open=slots.open,
    )


class _Slots:
    """The requests that were open. A record says that its request ended, also where a kill or a
    power cut left it in its slot; a peer's request id may have been used before."""

    def __init__(self, found: Iterable[Open]) -> None:
        self.open = list(found)
        self._ids = {request.request_id for request in self.open}
        self.since = min((request.started for request in self.open), default=1 << 63)

    def ended(self, request_id: str, time_ms: int) -> None:
        if request_id in self._ids:
            self.open = [
                request
                for request in self.open
                if request.request_id != request_id or request.started > time_ms
            ]


def retire(lane: LaneFolder) -> None:
    """The ledger holds all of a sealed lane: what is left is the audit trail. Raises OSError.

    What it took on the disk beyond that is given back.
    """
    for path in segment_files(lane.path, LIVE):
        segment = SegmentReader(path)
        if next(segment.records(), None) is None:
            path.unlink(missing_ok=True)  # made ahead and never used
        else:
            with suppress(OSError):  # a full disk has no room for the shorter copy
                segment.trim()
            to_audit(path)
    (lane.path / BOARD).unlink(missing_ok=True)
