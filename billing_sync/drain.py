"""Brings counted usage from Redis into the ledger, partition by partition.

The order, and what a crash after each step leaves behind:

1. read the lineage           nothing changed
2. set live aside as drain    the set-aside waits; the next run finds it and goes on at 3
3. one SQL transaction        usage, deductions, checkpoints, chain; the next run finds
                              `drain.id == SQL.last` and goes on at 4
4. tell the lending bank      what it has not been told is due in SQL; the next run goes on at 4
5. delete the set-aside       done: the lanes are told their checkpoints, and hold no more what the
                              bank knows to be used (see metering.bank)

A reset has an order of its own (resetting.py). Redis and SQL are never read at one instant, so a
mismatch counts only if SQL stood still around it: another control plane may have moved both on.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, SQLAlchemyError

from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.booking import book
from billing_sync.hearing import Heard
from billing_sync.lineage import Reason, Step, next_step
from billing_sync.models import Drain
from billing_sync.resetting import Resetter
from billing_sync.store import ahead, alerts, ledger, suspense, waiting
from billing_sync.store.ahead import Booked
from billing_sync.store.engine import reading, writing
from billing_sync.store.ledger import Place
from billing_sync.store.packages import deduct_booked
from billing_sync.telling import News, Teller
from billing_sync.visiting import Visits
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Counters
from metering.errors import MeteringError, NodeUnavailable
from metering.protocol import Content, Head

log = logging.getLogger("tallygate.sync")

_TOLD: Final = 200
_TURNS: Final = 8  # drop, set aside, commit, drop; and as many that another control plane made void


class _BeforeDrop(NamedTuple):
    checkpoints: dict[str, int]
    news: News | None


@dataclass
class Drainer:
    """Drains partitions. Any number of control planes may do so at once.

    `failure` is what kept the last run from a partition; `reasons` counts resets.
    """

    engine: Engine
    counters: Counters
    catalogue: Catalogue
    clock: Clock
    new_id: Callable[[], str]
    teller: Teller | None = None
    alerts: AlertTerms = SILENT
    heard: Heard = field(default_factory=Heard)
    drains: int = 0
    rows: int = 0
    reasons: dict[Reason, int] = field(default_factory=dict)
    last_reset_ms: int = 0
    stuck: set[int] = field(default_factory=set)
    failure: MeteringError | None = None

    def __post_init__(self) -> None:
        self._resetter = Resetter(self.engine, self.counters, self.clock, self.new_id, self.heard)
        self._visits = Visits()

    @property
    def resets(self) -> int:
        """How many partitions were reset."""
        return sum(self.reasons.copy().values())

    async def drain_all(self, partitions: int) -> set[int]:
        """Visit every partition; those of which everything counted so far is in the ledger.

        A partition whose store does not answer is left out, and `failure` says why; after a few of
        them the next run goes on behind them. One that fails for a reason of its own is left in
        `stuck`. Raises SQLAlchemyError when the ledger is away.
        """
        places = await to_thread.run_sync(self._places)
        drained = await self._at_rest(places, partitions)
        self.failure = None
        for partition in self._visits.begin(partitions):
            if partition in drained:
                self._visits.went_well(partition)
                self.stuck.discard(partition)
                continue
            try:
                if await self._visit(partition, places[partition]):
                    drained.add(partition)
                self._visits.went_well(partition)
            except MeteringError as failure:
                self.failure = failure
                if not self._visits.failed(partition, cheap=isinstance(failure, NodeUnavailable)):
                    break
        return drained

    async def _at_rest(self, places: dict[int, Place], partitions: int) -> set[int]:
        """Those in which nothing is to be done, found out in one go; maybe not all, and none while a
        store does not answer: what that costs is the visits' to decide."""
        if self.failure is not None:
            return set()
        try:
            heads = await self.counters.heads(range(partitions))
        except MeteringError:
            return set()
        return {each for each, head in heads.items() if _at_rest(places[each], head)}

    async def _visit(self, partition: int, place: Place) -> bool:
        try:
            head = await self.counters.head(partition)
            done = _at_rest(place, head) or await self.drain(partition)
        except DataError as failure:  # a value that no column of the ledger takes
            self._is_stuck(partition, failure)
            return False
        except (MeteringError, SQLAlchemyError):
            raise
        except Exception as failure:  # noqa: BLE001  (what is in Redis came from outside)
            self._is_stuck(partition, failure)
            return False
        self.stuck.discard(partition)
        return done

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

    async def _reset(self, partition: int, place: Place) -> None:
        reason = await self._resetter.reset(partition, place)
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            self.last_reset_ms = self.clock.now_ms()
            if self.teller is not None:
                await self.teller.tell_partition(partition)

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
            closed = ledger.looked_back_to(row)
            rows = book(drain.deltas, closed_through=closed, now_ms=now_ms)
            booked = ahead.take(session, rows)
            ledger.add_usage(session, partition, booked)
            waiting.settle(session, _customers(booked), self.catalogue, now_ms)
            suspense.put(session, rows, self.catalogue)
            deduct_booked(session, booked, self.catalogue, now_ms)
            alerts.raise_passed(session, self.catalogue, self.alerts, now_ms)
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
        """Steps 4 and 5."""
        before = await to_thread.run_sync(self._before_drop, partition, head.drain_id)
        if self.teller is None or await self.teller.tell(before.news):
            await self.counters.drop_drain(
                partition, drain_id=head.drain_id, epoch=head.epoch, checkpoints=before.checkpoints
            )

    def _before_drop(self, partition: int, drain_id: str) -> _BeforeDrop:
        """The checkpoints the lanes are told: those that moved, and of the others, which were told
        before unless Redis lost it, not too many: most lanes are dead."""
        with reading(self.engine) as session:
            moved = ledger.moved_by(session, drain_id)
            others = ledger.checkpoints(session, partition, limit=_TOLD)
            news = self.teller.due_in(session, partition) if self.teller else None
        return _BeforeDrop(others | moved, news)


def _at_rest(place: Place, head: Head) -> bool:
    """Nothing to do: the lineage is whole and nothing was counted."""
    whole = next_step(epoch=place.epoch, last=place.last, head=head) is Step.SET_ASIDE
    return whole and not head.dirty


def _customers(booked: list[Booked]) -> set[str]:
    return {one.row.customer_id for one in booked if one.row.instance_id}
