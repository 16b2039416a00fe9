"""The latest records of one customer in the journals of this disk, found without reading much of it.

Bounded: of each lane its newest segments only, and so many of all lanes together. Somebody else may be
writing, renaming or removing them.
"""

import heapq
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from metering.lanes import LaneFolder, lanes_in
from metering.records_on_disk import Decoder
from metering.segment_reading import SegmentReader
from metering.segments import segment_files
from metering.usage import UsageRecord

MOST_SEGMENTS: Final = 16  # 128 MiB where segments have their usual size


class Latest(NamedTuple):
    """Records, newest first. `whole`: the journals were read to their beginning, so there are no more."""

    records: list[UsageRecord]
    whole: bool


def latest_of(
    journal: Path, customer_id: str, limit: int, *, most_segments: int = MOST_SEGMENTS
) -> Latest:
    """At most `limit` of the customer's records."""
    aged = _newest(journal, most_segments + 1)
    whole = len(aged) <= most_segments
    decoder = Decoder()
    found: list[UsageRecord] = []
    for written_ns, path in aged[:most_segments]:
        if len(found) == limit and found[-1].time_ms * 1_000_000 > written_ns:
            return Latest(found, whole=False)  # all that follows is older
        more = list(islice(_of(SegmentReader(path, decoder), customer_id), limit))
        whole = whole and len(found) + len(more) <= limit
        found = heapq.nlargest(limit, [*found, *more], key=_age)
    return Latest(found, whole)


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


def _of(segment: SegmentReader, customer_id: str) -> Iterator[UsageRecord]:
    """The customer's records of a segment, as far as it is sound."""
    with suppress(OSError, ValueError):
        for _, record in segment.latest(msgspec.json.encode(customer_id)):
            if record.customer_id == customer_id:
                yield record
