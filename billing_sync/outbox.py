"""Pushes pending usage records to the marketplace.

1. claim a batch in SQL (`sending`, leased)   a crash leaves it sending until the lease ends
2. POST                                       a crash or time-out leaves it sending: it is sent again
3. write the outcome in SQL

Records carry their id, interval and record time from birth, so a repeat is the same record and the
marketplace counts it once (spec §7.2, rule 5). The lease names who may write an outcome: who comes
late, after somebody else has claimed the record, changes nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.usage_push import serialise
from billing_sync.models import UsageRecord
from billing_sync.pacing import Pace, judge
from billing_sync.store import outbox as store
from billing_sync.store.engine import reading, writing
from metering.clock import Clock

log = logging.getLogger("tallygate.push")

BATCH: Final = 1000  # spec §7.1
LEASE_MS: Final = 60_000  # longer than a push can take


class Pusher(Protocol):
    """Sends one serialised batch."""

    async def push(self, body: bytes) -> PushOutcome: ...


@dataclass
class Outbox:
    """Claims, pushes and settles. `outcomes` counts batches, `rejected` records."""

    engine: Engine
    pusher: Pusher
    clock: Clock
    batch_size: int = BATCH
    outcomes: dict[str, int] = field(default_factory=dict)
    rejected: int = 0

    def __post_init__(self) -> None:
        self._pace = Pace(self.batch_size, self.batch_size)
        self._said = ""

    async def push_due(self) -> int:
        """Push what is due, batch by batch; how many records were accepted.

        Stops early when the marketplace is away or refuses us as such, and then does nothing until
        it is time to try again. Raises SQLAlchemyError.
        """
        accepted = 0
        while self.clock.now_ms() >= self._pace.resume_ms:
            batch = await to_thread.run_sync(self._claim)
            if not batch:
                break
            outcome = await self.pusher.push(serialise(batch))
            self._say(outcome)
            self.outcomes[outcome.kind] = self.outcomes.get(outcome.kind, 0) + 1
            await to_thread.run_sync(self._settle, batch, outcome)
            self._pace = self._pace.after(batch, outcome, self.clock.now_ms())
            accepted += len(batch) if outcome.kind is Kind.ACCEPTED else 0
        return accepted

    async def others_done(self, within_s: float) -> None:
        """Wait until nobody is in the middle of a push, but not longer than this."""
        with anyio.move_on_after(within_s):
            while await to_thread.run_sync(self._in_flight):  # noqa: ASYNC110  (another process)
                await anyio.sleep(0.05)

    def _claim(self) -> list[UsageRecord]:
        now_ms = self.clock.now_ms()
        with writing(self.engine) as session:
            return store.claim(
                session, now_ms=now_ms, until_ms=now_ms + LEASE_MS, limit=self._pace.size
            )

    def _settle(self, batch: Sequence[UsageRecord], outcome: PushOutcome) -> None:
        with writing(self.engine) as session:
            for serials, columns in judge(batch, outcome, self.clock.now_ms()):
                settled = store.settle(session, serials, lease_ms=batch[0].next_attempt, **columns)
                self.rejected += settled if columns["state"] == "rejected" else 0

    def _in_flight(self) -> int:
        with reading(self.engine) as session:
            return store.in_flight(session, now_ms=self.clock.now_ms())

    def _say(self, outcome: PushOutcome) -> None:
        """Once per kind of trouble, not once per batch."""
        text = "" if outcome.kind is Kind.ACCEPTED else f"{outcome.kind}: {outcome.code}"
        if text == self._said:
            return
        self._said = text
        if not text:
            log.warning("the marketplace takes usage records again")
        elif outcome.kind is Kind.PERMANENT and outcome.blame is not Blame.CALLER:
            log.error("the marketplace refuses usage records: %s %s", text, outcome.message)
        else:
            log.warning("usage records wait to be pushed: %s %s", text, outcome.message)
