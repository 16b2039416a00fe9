"""The tail of a lane in memory: what the ledger has not taken over yet, up to a bound.

What is older is let go of and stays in the lane's files; whoever needs it reads it there.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from metering.deltas import Booked, booked
from metering.usage import UsageRecord

LIMIT: Final = 20_000
_STEPS: Final = 64  # in so many parts the whole tail is let go of: each holds up the event loop


class Run(NamedTuple):
    """Records of one partition in order, and their numbers in the lane, counted from 1."""

    numbers: list[int]
    records: list[Booked]


class Tail:
    """Records by partition. Not thread-safe: one event loop owns it."""

    def __init__(self, limit: int = LIMIT, floors: Mapping[int, int] | None = None) -> None:
        """`floors` are the positions up to which a partition's records were never put here."""
        self._limit = limit
        # Two lists side by side: an object for each pair would be one more for the collector.
        self._kept: dict[int, Run] = {}
        self._ends: dict[int, int] = {}
        self._floor: dict[int, int] = dict(floors or {})  # what lies at or below is not in memory
        self._count = 0
        self.checkpoints: dict[int, int] = {}

    def put(self, number: int, partition: int, record: UsageRecord) -> None:
        """Add the next record; numbers only grow."""
        kept = self._kept.get(partition)
        if kept is None:
            kept = self._kept[partition] = Run([], [])
        numbers, records = kept
        numbers.append(number)
        records.append(booked(record))
        self._ends[partition] = number
        self._count += 1
        if self._count > self._limit:
            self._let_go()

    def after(self, partition: int, position: int, *, limit: int) -> Run | None:
        """The partition's first `limit` records numbered above `position`, in order.

        None when some of them are no longer in memory.
        """
        if not self.reaches(partition, position):
            return None
        numbers, records = self._kept.get(partition, _NONE)
        start = bisect_right(numbers, position)
        return Run(numbers[start : start + limit], records[start : start + limit])

    def reaches(self, partition: int, position: int) -> bool:
        """Whether every record of the partition above `position` is in memory."""
        return position >= self._floor.get(partition, 0)

    def count_after(self, partition: int, position: int) -> int:
        """How many records of the partition are numbered above `position`, of those in memory."""
        numbers, _ = self._kept.get(partition, _NONE)
        return len(numbers) - bisect_right(numbers, position)

    def end(self, partition: int) -> int:
        """The number of the partition's last record, 0 without any."""
        return self._ends.get(partition, 0)

    def oldest_ms(self) -> int:
        """The time of the oldest record in memory that the ledger does not hold; 0 without any."""
        return min((records[0].time_ms for _, records in self._kept.values()), default=0)

    def touched(self) -> Sequence[int]:
        """The partitions with records that the ledger does not hold."""
        checkpoints = self.checkpoints
        return sorted(p for p, last in self._ends.items() if last > checkpoints.get(p, 0))

    def retire(self, partition: int, checkpoint: int) -> None:
        """The ledger holds the partition's records up to `checkpoint`.

        It may be told less than before: then the ledger was set back to a backup.
        """
        if checkpoint != self.checkpoints.get(partition, 0):
            self.checkpoints[partition] = checkpoint
            self._drop(partition, checkpoint)

    def let_go_through(self, number: int) -> None:
        """Forget every record up to a number."""
        for partition in list(self._kept):
            self._drop(partition, number)

    def _let_go(self) -> None:
        """The oldest ones, over all partitions: seldom, so that it costs little on the average."""
        oldest = min(kept.numbers[0] for kept in self._kept.values())
        self.let_go_through(oldest + self._limit // _STEPS)

    def _drop(self, partition: int, through: int) -> None:
        kept = self._kept.get(partition, _NONE)
        cut = bisect_right(kept.numbers, through)
        if cut:
            # Also where the ledger has them: it may be set back to a backup.
            self._floor[partition] = kept.numbers[cut - 1]
            self._count -= cut
            del kept.numbers[:cut], kept.records[:cut]
        if not kept.numbers:
            self._kept.pop(partition, None)


_NONE: Final = Run([], [])
