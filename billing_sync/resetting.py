"""Starts a partition of Redis again from the ledger. The order, and what a crash leaves behind:

1. read both hashes           nothing changed
2. one SQL transaction        what Redis held as a salvage row, a new epoch with its reason, and,
                              if it is the ledger that was set back, the stop of all billing; the
                              epochs differ now, so the next visit begins at 1 again
3. start again in Redis       done; the lanes replay what follows the checkpoints, and nothing is lent
                              of packages until they have said what they hold

Step 2 only happens if SQL stood still since the lineage was read: otherwise another control plane
has moved both on. A ledger that was set back is found so only once: what Redis named is remembered.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from billing_sync.finding_models import Salvage
from billing_sync.hearing import Heard
from billing_sync.lineage import Reason, Step, next_step, told_by, why
from billing_sync.store import ledger, stops
from billing_sync.store.engine import writing
from billing_sync.store.ledger import Place
from metering.clock import Clock
from metering.counters import Counters
from metering.deltas import encode
from metering.lending import NOBODY
from metering.protocol import Content, Head, head_of

Pair = tuple[Content | None, Content | None]


class _Start(NamedTuple):
    epoch: str
    reason: Reason
    checkpoints: dict[str, int]
    is_first: bool  # so nobody can hold anything


@dataclass(frozen=True)
class Resetter:
    """Resets partitions. Any number of control planes may do so at once."""

    engine: Engine
    counters: Counters
    clock: Clock
    new_id: Callable[[], str]
    heard: Heard = field(default_factory=Heard)

    async def reset(self, partition: int, place: Place) -> Reason | None:
        """Why the partition was reset; None when it need not be, or somebody else did it.

        `place` is where SQL stood before Redis was looked at.
        """
        pair = await self.counters.read(partition)
        if next_step(epoch=place.epoch, last=place.last, head=head_of(*pair)) is not Step.RESET:
            return None
        start = await to_thread.run_sync(self.start_epoch, partition, place, pair)
        if start is None:
            return None
        await self.counters.reset(
            partition,
            epoch=start.epoch,
            last=place.last,
            checkpoints=start.checkpoints,
            settling=NOBODY if start.is_first else self.heard.settling(),
        )
        return start.reason

    def start_epoch(self, partition: int, place: Place, pair: Pair) -> _Start | None:
        """Step 2."""
        now_ms, epoch, head = self.clock.now_ms(), self.new_id(), head_of(*pair)
        with writing(self.engine) as session:
            row = ledger.partition(session, partition)
            if (row.epoch, row.last) != place:
                return None  # SQL did not stand still: another control plane was at work
            told = set(told_by(head))
            known = ledger.known(session, partition, {*told, head.last})
            reason = why(head, last=row.last, known=known)
            if reason is Reason.SET_BACK:
                ledger.learn(session, partition, told - known, at=now_ms, reason=reason)
                stops.stop(session, _found(partition, head, told - known), now_ms)
            _salvage(session, partition, pair, now_ms, reason)
            is_first = reason is Reason.EMPTY and ledger.is_first_epoch(session, row.epoch)
            ledger.begin_epoch(session, partition, epoch=epoch, at=now_ms, reason=reason)
            return _Start(epoch, reason, ledger.checkpoints(session, partition), is_first)


def _found(partition: int, head: Head, unknown: set[str]) -> str:
    what = "an epoch" if unknown & {head.epoch, head.drain_epoch} else "a drain"
    return f"Redis names {what} of partition {partition} that the ledger has never seen"


def _salvage(session: Session, partition: int, pair: Pair, now_ms: int, reason: Reason) -> None:
    """Keep what Redis held for a person to look at; once, however often the reset is repeated."""
    newest = (
        select(Salvage.content)
        .where(Salvage.partition == partition)
        .order_by(col(Salvage.id).desc())
        .limit(2)
    )
    kept = set(session.exec(newest))
    for content in pair:
        if content is not None and (text := _text(content)) not in kept:
            session.add(Salvage(partition=partition, at=now_ms, reason=reason, content=text))


def _text(content: Content) -> str:
    held = {
        "epoch": content.epoch,
        "last": content.last,
        "committed": content.committed,
        "id": content.id,
        "positions": dict(content.positions),
        "deltas": {encode(key): value for key, value in content.deltas.items()},
    }
    return json.dumps(held)
