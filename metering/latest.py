"""The latest records of one customer in the journals of this disk, found without reading much of it.

Bounded: the newest segments only, and of each so many records. Somebody else may be writing, renaming
or removing them.
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from metering.lanes import LaneFolder, lanes_in
from metering.records_on_disk import Decoder
from metering.segment_reading import SegmentReader
from metering.segments import segment_files
from metering.usage import UsageRecord

MOST_SEGMENTS: Final = 16  # 128 MiB where segments have their usual size
MOST_READ: Final = 2000  # of the customer's records in a segment

Wanted = Callable[[UsageRecord], bool]


def everything(record: UsageRecord) -> bool:  # noqa: ARG001  (whatever it is)
    """No record is left out."""
    return True


def latest_of(
    journal: Path,
    customer_id: str,
    limit: int,
    wanted: Wanted = everything,
    *,
    most_segments: int = MOST_SEGMENTS,
) -> list[UsageRecord]:
    """At most `limit` of the customer's records that are wanted, newest first."""
    decoder = Decoder()
    found: list[UsageRecord] = []
    for written_ns, path in _newest(journal, most_segments):
        if len(found) == limit and found[-1].time_ms * 1_000_000 > written_ns:
            break  # all that follows is older
        more = _of(SegmentReader(path, decoder), customer_id, limit, wanted)
        found = heapq.nlargest(limit, [*found, *more], key=_age)
    return found


def _age(record: UsageRecord) -> int:
    return record.time_ms


def _newest(journal: Path, most: int) -> list[tuple[int, Path]]:
    """Segments and when they were written to last, in ns; the newest first."""
    found = (each for lane in lanes_in(journal) for each in _aged(lane, most))
    return heapq.nlargest(most, found)


def _aged(lane: LaneFolder, most: int) -> Iterator[tuple[int, Path]]:
    for path in segment_files(lane.path)[-most - 1 :]:  # the last one may only be made ahead
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime_ns, path


def _of(segment: SegmentReader, customer_id: str, limit: int, wanted: Wanted) -> list[UsageRecord]:
    """The newest of a segment, as far as it is sound."""
    found: list[UsageRecord] = []
    with suppress(OSError, ValueError):
        for read, (_, record) in enumerate(segment.latest(msgspec.json.encode(customer_id))):
            if record.customer_id == customer_id and wanted(record):
                found.append(record)
            if len(found) == limit or read == MOST_READ:
                break
    return found
