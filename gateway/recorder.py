"""Counts records: journal first, then in batches to Redis.

`plan` and `settle` decide; `flush` sends. Redis may be away for as long as it likes: the lane keeps
what the ledger has not taken over, and the next flush starts again at the position Redis names.
"""

from dataclasses import dataclass

from metering import deltas
from metering.clock import Clock
from metering.counters import Counters
from metering.errors import MeteringError
from metering.journal import Lane
from metering.protocol import ApplyReply, Batch
from metering.usage import UsageRecord

_BATCH = 5000  # records merged into one call: bounds the script's run time after an outage
# Replies that only moved the start of a batch. More in one flush means that somebody keeps
# resetting the partition; the next flush goes on.
_TURNS = 4


@dataclass(slots=True)
class _Place:
    """Where one partition stands in Redis for our lane, as far as we know."""

    epoch: str = ""
    position: int = 0


class Recorder:
    """Owns the lane of this process and brings it to Redis."""

    def __init__(self, lane: Lane, counters: Counters, clock: Clock) -> None:
        self._lane = lane
        self._counters = counters
        self._clock = clock
        self._places: dict[int, _Place] = {}
        self.batches = 0
        self.failures = 0
        self.backlog = 0  # records not yet applied, at the last flush

    def record(self, record: UsageRecord) -> None:
        """Write the record to the journal. From here on it will be counted."""
        self._lane.append(record)

    def plan(self, partition: int) -> Batch | None:
        """What must be sent next for the partition; None when Redis holds everything."""
        place = self._places.setdefault(partition, _Place())
        entries = self._lane.after(partition, place.position, limit=_BATCH)
        if not entries:
            return None
        return Batch(
            partition,
            place.epoch,
            self._lane.lane_id,
            place.position,
            entries[-1].number,
            deltas.merge(entry.record for entry in entries),
        )

    def settle(self, partition: int, reply: ApplyReply) -> None:
        """Take over what Redis said. Every answer names epoch and position; both are the truth."""
        self._places[partition] = _Place(reply.epoch, reply.position)
        self._lane.retire(partition, reply.checkpoint)

    async def flush(self, *, probe: bool = False) -> int | None:
        """Send everything. The time before which all records are applied, or None if some are not.

        `probe` also asks the partitions whose records are applied but not yet in the ledger: a
        Redis that was emptied or set back is noticed there, though nothing new comes in.
        """
        through = self._lane.mark(self._clock.now_ms())
        done = True
        for partition in self._lane.touched():
            done = await self._flush_partition(partition, probe=probe) and done
        self.backlog = sum(self._waiting(partition) for partition in self._lane.touched())
        return through if done else None

    async def _flush_partition(self, partition: int, *, probe: bool) -> bool:
        goal = self._lane.end(partition)  # what comes in meanwhile is the next flush's
        turns = 0
        while turns < _TURNS:
            batch = self.plan(partition)
            if batch is None or batch.start >= goal:
                if not probe:
                    return True
                probe = False
                batch = self._probe(partition)
            reply = await self._apply(batch)
            if reply is None or (reply.status == "epoch" and not reply.epoch):
                return False  # away, or the control plane has not set the partition up yet
            turns += reply.status != "ok"
        return False

    async def _apply(self, batch: Batch) -> ApplyReply | None:
        try:
            reply = await self._counters.apply(batch)
        except MeteringError:
            self.failures += 1
            return None
        self.batches += 1
        self.settle(batch.partition, reply)
        return reply

    def _probe(self, partition: int) -> Batch:
        place = self._places[partition]
        return Batch(partition, place.epoch, self._lane.lane_id, place.position, place.position, {})

    def _waiting(self, partition: int) -> int:
        place = self._places.get(partition, _Place())
        return self._lane.count_after(partition, place.position)
