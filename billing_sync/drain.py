"""Brings counted usage from Redis into the ledger, partition by partition.

The order, and what a crash after each step leaves behind:

1. read the lineage           nothing changed
2. set live aside as drain    the set-aside waits; the next run finds it and goes on at 3
3. one SQL transaction        usage, deductions, checkpoints, chain; the next run finds
                              `drain.id == SQL.last` and goes on at 4
4. delete the set-aside       done

A reset (salvage and new epoch in SQL, then one script) that stops half-way is repeated, because the
epochs still differ.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.booking import book
from billing_sync.lineage import Step, next_step
from billing_sync.models import Drain, Partition, Salvage
from billing_sync.store import ledger
from billing_sync.store.engine import reading, writing
from billing_sync.store.packages import deduct_rows
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Content, Counters, Head
from metering.deltas import encode

_TURNS = 4  # steps in one visit: drop, set aside, commit, drop


@dataclass
class Drainer:
    """Drains partitions. Any number of control planes may do so at once."""

    engine: Engine
    counters: Counters
    catalogue: Catalogue
    clock: Clock
    new_id: Callable[[], str]
    drains: int = 0
    resets: int = 0
    rows: int = field(default=0)

    async def drain_all(self, partitions: int) -> None:
        """Visit every partition. Raises MeteringError when Redis cannot be reached."""
        for partition in range(partitions):
            await self.drain(partition)

    async def drain(self, partition: int) -> None:
        """Take the partition's live deltas into the ledger, finishing what a crash left first."""
        for _ in range(_TURNS):
            head = await self.counters.head(partition)
            known = await to_thread.run_sync(self._known, partition)
            step = next_step(epoch=known.epoch, last=known.last, head=head)
            if step is Step.SET_ASIDE:
                if not head.dirty:
                    return
                await self.counters.set_aside(
                    partition, epoch=head.epoch, last=head.last, new_id=self.new_id()
                )
            elif step is Step.COMMIT:
                await self._commit(partition, head)
            elif step is Step.DROP:
                await self._drop(partition, head)
            else:
                await self._reset(partition, known)

    def _known(self, partition: int) -> Partition:
        with reading(self.engine) as session:
            return ledger.partition_now(session, partition)

    async def _commit(self, partition: int, head: Head) -> None:
        _, drain = await self.counters.read(partition)
        if drain is not None and drain.id == head.drain_id:
            await to_thread.run_sync(self.commit, partition, drain)

    def commit(self, partition: int, drain: Content) -> bool:
        """Step 3. False when another control plane has done it."""
        now_ms = self.clock.now_ms()
        with writing(self.engine) as session:
            row = ledger.partition(session, partition)
            if row.epoch != drain.epoch or not ledger.advance(
                session, partition, prev=drain.last, drain_id=drain.id
            ):
                return False
            rows = book(drain.deltas, closed_through=row.closed_through, now_ms=now_ms)
            ledger.add_usage(session, partition, rows)
            deduct_rows(session, rows, self.catalogue, now_ms)
            link = Drain(
                id=drain.id,
                partition=partition,
                prev=drain.last,
                epoch=drain.epoch,
                at=now_ms,
                positions="",
            )
            ledger.remember_drain(session, link, drain.positions)
        self.drains += 1
        self.rows += len(rows)
        return True

    async def _drop(self, partition: int, head: Head) -> None:
        checkpoints = await to_thread.run_sync(self._checkpoints, partition)
        await self.counters.drop_drain(
            partition, drain_id=head.drain_id, epoch=head.epoch, checkpoints=checkpoints
        )

    def _checkpoints(self, partition: int) -> dict[str, int]:
        with reading(self.engine) as session:
            return ledger.checkpoints(session, partition)

    async def _reset(self, partition: int, known: Partition) -> None:
        live, drain = await self.counters.read(partition)
        epoch = self.new_id()
        checkpoints = await to_thread.run_sync(
            self._start_epoch, partition, known.epoch, epoch, live, drain
        )
        if checkpoints is not None:
            await self.counters.reset(
                partition, epoch=epoch, last=known.last, checkpoints=checkpoints
            )
            self.resets += 1

    def _start_epoch(
        self, partition: int, old: str, epoch: str, live: Content | None, drain: Content | None
    ) -> dict[str, int] | None:
        now_ms = self.clock.now_ms()
        with writing(self.engine) as session:
            row = ledger.partition(session, partition)
            if row.epoch != old:
                return None  # another control plane is resetting it
            row.epoch = epoch
            session.add(row)
            for content in (live, drain):
                if content is not None:
                    session.add(_salvage(partition, now_ms, content))
            return ledger.checkpoints(session, partition)


def _salvage(partition: int, now_ms: int, content: Content) -> Salvage:
    held = {
        "epoch": content.epoch,
        "last": content.last,
        "id": content.id,
        "positions": dict(content.positions),
        "deltas": {encode(key): value for key, value in content.deltas.items()},
    }
    return Salvage(
        partition=partition, at=now_ms, reason="lineage mismatch", content=json.dumps(held)
    )
