"""The journal: every process life owns one lane of numbered records that never change.

This lane lives in memory. It keeps what the ledger has not yet taken over, so it survives the loss
of Redis, but not of its process.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from metering.partitions import partition_of
from metering.usage import UsageRecord


class Numbered(NamedTuple):
    """A record and its number in the lane, counted from 1."""

    number: int
    record: UsageRecord


class Lane(Protocol):
    """What the recorder needs of a journal."""

    @property
    def lane_id(self) -> str: ...

    def append(self, record: UsageRecord) -> int:
        """Write the record; its number. Its time is set to the lane's last when it lies before."""
        ...

    def after(self, partition: int, position: int, *, limit: int) -> Sequence[Numbered]:
        """The partition's first `limit` records numbered above `position`, in order."""
        ...

    def count_after(self, partition: int, position: int) -> int:
        """How many records of the partition are numbered above `position`."""
        ...

    def end(self, partition: int) -> int:
        """The number of the partition's last record that is not yet retired, 0 without any."""
        ...

    def touched(self) -> Sequence[int]:
        """The partitions that hold records not yet retired."""
        ...

    def retire(self, partition: int, checkpoint: int) -> None:
        """The ledger holds the partition's records up to `checkpoint`."""
        ...

    def mark(self, now_ms: int) -> int:
        """A time T such that every later record has a time >= T."""
        ...


class LaneTotals(NamedTuple):
    """Everything a lane was ever given."""

    records: int
    quantities: dict[str, int]


class MemoryLane:
    """A lane in memory. Not thread-safe: one event loop owns it."""

    def __init__(self, lane_id: str, partitions: int) -> None:
        self._lane_id = lane_id
        self._partitions = partitions
        self._last_number = 0
        self._last_time = 0
        self._kept: dict[int, list[Numbered]] = {}
        self._quantities: dict[str, int] = {}

    @property
    def lane_id(self) -> str:
        return self._lane_id

    def append(self, record: UsageRecord) -> int:
        if record.time_ms < self._last_time:  # the clock stepped back
            record = replace(record, time_ms=self._last_time)
        self._last_time = record.time_ms
        self._last_number += 1
        partition = partition_of(record.customer_id, self._partitions)
        self._kept.setdefault(partition, []).append(Numbered(self._last_number, record))
        for meter, quantity in record.quantities.items():
            self._quantities[meter] = self._quantities.get(meter, 0) + quantity.value
        return self._last_number

    def after(self, partition: int, position: int, *, limit: int) -> Sequence[Numbered]:
        kept = self._kept.get(partition, [])
        start = bisect_right(kept, position, key=_number)
        return kept[start : start + limit]

    def count_after(self, partition: int, position: int) -> int:
        kept = self._kept.get(partition, [])
        return len(kept) - bisect_right(kept, position, key=_number)

    def end(self, partition: int) -> int:
        kept = self._kept.get(partition)
        return kept[-1].number if kept else 0

    def touched(self) -> Sequence[int]:
        return sorted(self._kept)

    def retire(self, partition: int, checkpoint: int) -> None:
        kept = self._kept.get(partition)
        if kept is None:
            return
        del kept[: bisect_right(kept, checkpoint, key=_number)]
        if not kept:
            del self._kept[partition]

    def mark(self, now_ms: int) -> int:
        self._last_time = max(self._last_time, now_ms)
        return self._last_time

    def totals(self) -> LaneTotals:
        """How many records and how much of each meter, over the lane's whole life."""
        return LaneTotals(self._last_number, dict(self._quantities))


def _number(entry: Numbered) -> int:
    return entry.number
