"""The tail of a lane in memory: what the ledger has not taken over yet, up to a bound.

What is older is let go of and stays in the lane's files; whoever needs it reads it there.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from metering.usage import UsageRecord

LIMIT: Final = 20_000


class Numbered(NamedTuple):
    """A record and its number in the lane, counted from 1."""

    number: int
    record: UsageRecord


class Tail:
    """Records by partition. Not thread-safe: one event loop owns it."""

    def __init__(self, limit: int = LIMIT, floors: Mapping[int, int] | None = None) -> None:
        """`floors` are the positions up to which a partition's records were never put here."""
        self._limit = limit
        self._kept: dict[int, list[Numbered]] = {}
        self._ends: dict[int, int] = {}
        self._floor: dict[int, int] = dict(floors or {})  # what lies at or below is not in memory
        self._count = 0
        self.checkpoints: dict[int, int] = {}

    def put(self, number: int, partition: int, record: UsageRecord) -> None:
        """Add the next record; numbers only grow."""
        self._kept.setdefault(partition, []).append(Numbered(number, record))
        self._ends[partition] = number
        self._count += 1
        if self._count > self._limit:
            self._let_go()

    def after(self, partition: int, position: int, *, limit: int) -> Sequence[Numbered] | None:
        """The partition's first `limit` records numbered above `position`, in order.

        None when some of them are no longer in memory.
        """
        if position < self._floor.get(partition, 0):
            return None
        kept = self._kept.get(partition, [])
        start = bisect_right(kept, position, key=_number)
        return kept[start : start + limit]

    def count_after(self, partition: int, position: int) -> int:
        """How many records of the partition are numbered above `position`, of those in memory."""
        kept = self._kept.get(partition, [])
        return len(kept) - bisect_right(kept, position, key=_number)

    def end(self, partition: int) -> int:
        """The number of the partition's last record, 0 without any."""
        return self._ends.get(partition, 0)

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
        """The older half, over all partitions: seldom, so that it costs little on the average."""
        numbers = sorted(entry.number for kept in self._kept.values() for entry in kept)
        self.let_go_through(numbers[len(numbers) // 2])

    def _drop(self, partition: int, through: int) -> None:
        kept = self._kept.get(partition, [])
        cut = bisect_right(kept, through, key=_number)
        if cut:
            # Also where the ledger has them: it may be set back to a backup.
            self._floor[partition] = kept[cut - 1].number
            self._count -= cut
            del kept[:cut]
        if not kept:
            self._kept.pop(partition, None)


def _number(entry: Numbered) -> int:
    return entry.number
