"""Brings counted usage from Redis into the ledger, partition by partition.

The order, and what a crash after each step leaves behind:

1. read the lineage           nothing changed
2. set live aside as drain    the set-aside waits; the next run finds it and goes on at 3
3. one SQL transaction        usage, deductions, checkpoints, chain; the next run finds
                              `drain.id == SQL.last` and goes on at 4
4. delete the set-aside       done

A reset (salvage and new epoch in SQL, then one script) that stops half-way is repeated, because the
epochs still differ. Redis and SQL are never read at one instant, so a mismatch counts only if SQL
stood still around it: another control plane may just have moved both on.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.booking import book
from billing_sync.lineage import Step, next_step
from billing_sync.models import Drain, Salvage
from billing_sync.store import ledger
from billing_sync.store.engine import reading, writing
from billing_sync.store.ledger import Place
from billing_sync.store.packages import deduct_rows
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Counters
from metering.deltas import encode
from metering.errors import MeteringError
from metering.protocol import Content, Head

log = logging.getLogger("tallygate.sync")

_TURNS = 8  # drop, set aside, commit, drop; and as many that another control plane made void


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
    rows: int = 0
    last_reset_ms: int = 0
    stuck: set[int] = field(default_factory=set)

    async def drain_all(self, partitions: int) -> set[int]:
        """Visit every partition; those of which everything counted so far is in the ledger.

        Raises MeteringError or SQLAlchemyError when a store is away. A partition that fails for a
        reason of its own is left in `stuck` and holds no other up.
        """
        places = await to_thread.run_sync(self._places)
        drained = set()
        for partition in range(partitions):
            try:
                head = await self.counters.head(partition)
                if _at_rest(places[partition], head) or await self.drain(partition):
                    drained.add(partition)
                self.stuck.discard(partition)
            except (MeteringError, SQLAlchemyError):
                raise
            except Exception as failure:  # noqa: BLE001  (what is in Redis came from outside)
                self._is_stuck(partition, failure)
        return drained

    async def drain(self, partition: int) -> bool:
        """Take what the partition counted so far into the ledger, after what a crash left there.

        False when others kept moving it; then the next visit goes on.
        """
        aside = False
        for _ in range(_TURNS):
            place = await to_thread.run_sync(self._place, partition)
            head = await self.counters.head(partition)
            step = next_step(epoch=place.epoch, last=place.last, head=head)
            if step is not Step.SET_ASIDE:
                await self._finish(partition, step, place, head)
            elif aside or not head.dirty:
                return True
            else:
                aside = True  # also when another control plane was quicker: what there was is aside
                await self.counters.set_aside(
                    partition, epoch=head.epoch, last=head.last, new_id=self.new_id()
                )
        return False

    async def _finish(self, partition: int, step: Step, place: Place, head: Head) -> None:
        if step is Step.COMMIT:
            await self._commit(partition, head)
        elif step is Step.DROP:
            await self._drop(partition, head)
        else:
            await self._reset(partition, place)

    def _is_stuck(self, partition: int, failure: Exception) -> None:
        if partition not in self.stuck:
            log.error("partition %d cannot be drained: %s", partition, type(failure).__name__)
        self.stuck.add(partition)

    def _places(self) -> dict[int, Place]:
        with reading(self.engine) as session:
            return ledger.places(session)

    def _place(self, partition: int) -> Place:
        with reading(self.engine) as session:
            return ledger.place(session, partition)

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

    async def _reset(self, partition: int, place: Place) -> None:
        live, drain = await self.counters.read(partition)
        epoch = self.new_id()
        checkpoints = await to_thread.run_sync(
            self._start_epoch, partition, place, epoch, live, drain
        )
        if checkpoints is not None:
            await self.counters.reset(
                partition, epoch=epoch, last=place.last, checkpoints=checkpoints
            )
            self.resets += 1
            self.last_reset_ms = self.clock.now_ms()

    def _start_epoch(
        self, partition: int, old: Place, epoch: str, live: Content | None, drain: Content | None
    ) -> dict[str, int] | None:
        now_ms = self.clock.now_ms()
        with writing(self.engine) as session:
            row = ledger.partition(session, partition)
            if (row.epoch, row.last) != old:
                return None  # SQL did not stand still: another control plane was at work
            row.epoch = epoch
            session.add(row)
            for content in (live, drain):
                if content is not None:
                    session.add(_salvage(partition, now_ms, content))
            return ledger.checkpoints(session, partition)


def _at_rest(place: Place, head: Head) -> bool:
    """Nothing to do: the lineage is whole and nothing was counted."""
    whole = next_step(epoch=place.epoch, last=place.last, head=head) is Step.SET_ASIDE
    return whole and not head.dirty


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
