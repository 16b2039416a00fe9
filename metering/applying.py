"""Brings the tail of a lane to Redis.

`plan` and `settle` decide; `flush` sends. Every reply names epoch and position and both are the
truth, so Redis may be away, lose replies or be set back: the next flush starts where it stands.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import anyio
import anyio.lowlevel

from metering import deltas
from metering.counters import Counters
from metering.deltas import Booked
from metering.errors import MeteringError, NodeUnavailable
from metering.protocol import ApplyReply, Batch
from metering.tail import Tail

# Records merged into one call: bounds how long the script is held up, and writing it down the loop.
_BATCH: Final = 500
_AT_ONCE: Final = 100  # records merged before others have a turn: 0.1 ms
# Replies that only moved the start of a batch. More in one flush means that somebody keeps
# resetting the partition; the next flush goes on.
_TURNS: Final = 4
_TOGETHER: Final = 8  # partitions whose batches go in one message: it is a third of the work


@dataclass(slots=True)
class _Place:
    """Where one partition stands in Redis for our lane, as far as we know."""

    epoch: str = ""
    position: int = 0


class Plan(NamedTuple):
    """What must be sent next for a partition; without records it only asks where that stands."""

    partition: int
    epoch: str
    start: int
    end: int
    records: Sequence[Booked]


class Applier:
    """One lane's way to Redis. One flush at a time: two would send the same batches."""

    def __init__(self, lane_id: str, tail: Tail, counters: Counters, partitions: int) -> None:
        self._lane_id = lane_id
        self._tail = tail
        self._counters = counters
        self._partitions = partitions
        self._places: dict[int, _Place] = {}
        self.epochs: dict[int, str] = {}  # the last of each partition; it has none when emptied
        self._first = 0  # the partition that the next flush begins with
        self._asked = 0  # the partition that is asked next
        self._heard: set[int] = set()  # partitions that answered since the last probe
        self._together = True  # nothing has failed lately
        self.batches = 0
        self.failures = 0
        self.failure = ""  # the kind of the last one
        self.node_away = False  # whether the last one was only a part of a cluster
        self.backlog = 0  # records in memory not yet applied, at the last flush
        self.resets = 0  # how often a partition was seen to start a new epoch
        self.rounds = 0  # how often every partition has been asked
        self.behind: set[int] = set()  # partitions that stand before what memory holds

    def position(self, partition: int) -> int:
        """Where the partition stands in Redis for this lane, as last heard."""
        return self._places.get(partition, _Place()).position

    def epoch(self, partition: int) -> str:
        """The partition's, as last heard together with its checkpoint; empty where it has none."""
        return self._places.get(partition, _Place()).epoch

    async def learn(self, partition: int) -> None:
        """Ask where the partition stands."""
        await self._apply(self._question(partition))

    def plan(self, partition: int) -> Plan | None:
        """What must be sent next for the partition; None when there is nothing in memory."""
        place = self._places.setdefault(partition, _Place())
        if not place.epoch:
            return self._question(partition)  # first of all, where it stands
        run = self._tail.after(partition, place.position, limit=_BATCH)
        if run is None:
            self.behind.add(partition)
            return None
        self.behind.discard(partition)
        if not run.records:
            return None
        return Plan(partition, place.epoch, place.position, run.numbers[-1], run.records)

    def settle(self, partition: int, reply: ApplyReply) -> None:
        """Take over what Redis said."""
        if reply.epoch:
            self.resets += self.epochs.get(partition, reply.epoch) != reply.epoch
            self.epochs[partition] = reply.epoch
        self._places[partition] = _Place(reply.epoch, reply.position)
        self._tail.retire(partition, reply.checkpoint)
        if reply.epoch and not self._tail.reaches(partition, reply.position):
            self.behind.add(partition)
        else:
            self.behind.discard(partition)

    async def flush(self, *, probe: bool = False) -> bool:
        """Send everything; whether all of it is applied.

        `probe` also asks the partitions whose records are applied but not yet in the ledger, unless
        they have answered since the last probe: a Redis that was emptied or set back is noticed
        there, though nothing new comes in.

        It stops at the first failure: the others would only fail one after the other, each in its
        time-out. A node of a cluster that is away costs no time, and others may answer.
        """
        failures = self.failures
        partitions = self._in_turn(self._tail.touched())
        done = not self._together or await self._flush_together(partitions)
        for partition in partitions if done else ():
            known = self.failures
            done = await self._flush_partition(partition, probe=probe) and done
            if self.failures != known and not self.node_away:
                self._first = partition + 1
                break
        self._together = self.failures == failures
        if probe:
            self._heard.clear()
        self.backlog = sum(self._waiting(partition) for partition in self._tail.touched())
        return done and self.failures == failures

    async def ask_next(self, count: int) -> None:
        """Ask the next `count` partitions, in turn, whether they stand where they stood.

        Also those of which the ledger holds everything: it may be set back to a backup.
        """
        for _ in range(min(count, self._partitions)):
            if await self._apply(self._question(self._asked)) is None and not self.node_away:
                return
            self._asked = (self._asked + 1) % self._partitions
            self.rounds += self._asked == 0

    def _in_turn(self, partitions: Sequence[int]) -> Sequence[int]:
        start = bisect_left(partitions, self._first)
        return [*partitions[start:], *partitions[:start]]

    async def _flush_together(self, partitions: Sequence[int]) -> bool:
        """A batch of each, several in a message, where that can be; whether nothing failed."""
        for at in range(0, len(partitions), _TOGETHER):
            found = map(self.plan, partitions[at : at + _TOGETHER])
            plans = [plan for plan in found if plan is not None and plan.records]
            if len(plans) <= 1:  # it goes by itself
                continue
            batches = await self._batches(plans)
            try:
                replies = await self._counters.apply_each(batches)
            except MeteringError as reason:
                self._failed(reason)
                return False
            for batch, reply in zip(batches, replies, strict=False):
                self._replied(batch.partition, reply)
        return True

    async def _flush_partition(self, partition: int, *, probe: bool) -> bool:
        goal = self._tail.end(partition)  # what comes in meanwhile is the next flush's
        turns = 0
        while turns < _TURNS:
            plan = self.plan(partition)
            if plan is None or plan.start >= goal:
                if not probe or partition in self._heard - self.behind:
                    return self.position(partition) >= goal
                probe = False
                plan = self._question(partition)
            reply = await self._apply(plan)
            if reply is None or (reply.status == "epoch" and not reply.epoch):
                return False  # away, or the control plane has not set the partition up yet
            turns += reply.status != "ok"
        return False

    async def _apply(self, plan: Plan) -> ApplyReply | None:
        try:
            reply = await self._counters.apply(await self._batch(plan))
        except MeteringError as reason:
            self._failed(reason)
            return None
        self._replied(plan.partition, reply)
        return reply

    async def _batches(self, plans: Sequence[Plan]) -> list[Batch]:
        batches, merged = [], 0
        for plan in plans:
            if merged >= _AT_ONCE:
                await anyio.lowlevel.checkpoint()
                merged = 0
            batches.append(await self._batch(plan))
            merged += len(plan.records)
        return batches

    async def _batch(self, plan: Plan) -> Batch:
        merging = deltas.Merging()
        for at in range(0, len(plan.records), _AT_ONCE):
            if at:
                await anyio.lowlevel.checkpoint()
            merging.add(plan.records[at : at + _AT_ONCE])
        partition, epoch, start, end, _ = plan
        return Batch(partition, epoch, self._lane_id, start, end, merging.deltas())

    def _failed(self, reason: MeteringError) -> None:
        self.failures += 1
        self.failure = type(reason).__name__
        self.node_away = isinstance(reason, NodeUnavailable)

    def _replied(self, partition: int, reply: ApplyReply) -> None:
        self.batches += 1
        self._heard.add(partition)
        self.settle(partition, reply)

    def _question(self, partition: int) -> Plan:
        place = self._places.get(partition, _Place())
        return Plan(partition, place.epoch, place.position, place.position, ())

    def _waiting(self, partition: int) -> int:
        return self._tail.count_after(partition, self.position(partition))
