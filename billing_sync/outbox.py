"""Pushes pending usage records to the marketplace. The order, and what a crash after each step leaves:

0. tend the outbox (see tending)   each of its steps is done or not; what is not looked at yet, or
                                   held, or too old, is not claimed
1. claim a batch in SQL            records `sending` under a lease, the claim's id remembered; when
   (`sending`, leased)             the lease ends, the same records go again
2. enter it in the push log,       the same; should the ledger be set back, the log brings back
   synced                          records that were never pushed, and they are pushed as they are
3. POST                            ambiguous: the same records go again
4. enter the outcome in the log    as 3; it need not be synced
5. write the outcome in SQL        done

Records carry their id, interval and record time from birth, so a repeat is the same record and the
marketplace counts it once (spec §7.2, rule 5). The lease names who may write an outcome: who comes
late, after somebody else has claimed the record, changes nothing. Nothing is claimed while billing
is stopped, and a ledger that does not know the log's newest claim stops it here too.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import anyio
from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.deadlines import EXPIRY_MS
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.usage_push import serialise
from billing_sync.models import UsageRecord
from billing_sync.pacing import Pace, judge
from billing_sync.push_entries import claimed, settled
from billing_sync.push_log import PushLog
from billing_sync.states import State
from billing_sync.store import outbox as store
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from billing_sync.tending import Tender
from metering.clock import Clock

log = logging.getLogger("tallygate.push")

BATCH: Final = 1000  # spec §7.1
LEASE_MS: Final = 60_000  # longer than a push can take


class Pusher(Protocol):
    """Sends one serialised batch."""

    async def push(self, body: bytes) -> PushOutcome: ...


class _Claim(NamedTuple):
    id: str
    batch: Sequence[UsageRecord]


@dataclass
class Outbox:
    """Claims, pushes and settles. `outcomes` counts batches, `rejected` records.

    `new_id` gives fresh random ids for claims. Without a `tender` nothing is held.
    """

    engine: Engine
    pusher: Pusher
    clock: Clock
    log: PushLog
    new_id: Callable[[], str]
    batch_size: int = BATCH
    tender: Tender | None = None
    body_of: Callable[[Sequence[UsageRecord]], bytes] = serialise
    outcomes: dict[str, int] = field(default_factory=dict)
    rejected: int = 0

    def __post_init__(self) -> None:
        self._pace = Pace(self.batch_size, self.batch_size)
        self._said = ""
        self.keeper = self.tender or Tender(self.engine, self.clock, self.new_id)

    async def push_due(self) -> int:
        """Push what is due, batch by batch; how many records were accepted.

        Stops early when the marketplace is away or refuses us as such, or the push log cannot be
        written, and then does nothing until it is time to try again. Raises SQLAlchemyError, and OSError when the log cannot be read.
        """
        await to_thread.run_sync(self.keeper.tend)
        accepted = 0
        while self.clock.now_ms() >= self._pace.resume_ms:
            claim = await to_thread.run_sync(self._claim)
            if not claim.batch:
                break
            outcome = await self._push(claim)
            self._say(outcome)
            self.outcomes[outcome.kind] = self.outcomes.get(outcome.kind, 0) + 1
            await to_thread.run_sync(self._settle, claim, outcome)
            self._pace = self._pace.after(claim.batch, outcome, self.clock.now_ms())
            accepted += len(claim.batch) if outcome.kind is Kind.ACCEPTED else 0
        return accepted

    async def others_done(self, within_s: float) -> None:
        """Wait until nobody is in the middle of a push, but not longer than this."""
        with anyio.move_on_after(within_s):
            while await to_thread.run_sync(self._in_flight):  # noqa: ASYNC110  (another process)
                await anyio.sleep(0.05)

    async def _push(self, claim: _Claim) -> PushOutcome:
        """Steps 2 to 4."""
        try:
            await to_thread.run_sync(self._enter, claim)
        except OSError as problem:
            return PushOutcome(
                Kind.TRANSIENT,
                "push log",
                f"{self.log.folder} cannot be written: {problem.strerror or problem}",
                blame=Blame.CALLER,
            )
        outcome = await self.pusher.push(self.body_of(claim.batch))
        # Without its outcome the batch counts as ambiguous, which it may well be.
        with suppress(OSError):
            await to_thread.run_sync(self._enter_outcome, claim, outcome)
        return outcome

    def _claim(self) -> _Claim:
        """Step 1; nothing while billing is stopped."""
        claim_id, newest, now_ms = self.new_id(), self.log.newest(), self.clock.now_ms()
        with writing(self.engine) as session:
            if not stops.may_bill(session, newest, now_ms):
                return _Claim("", [])
            batch = store.claim(
                session,
                claim_id,
                now_ms=now_ms,
                until_ms=now_ms + LEASE_MS,
                limit=self._pace.size,
                where=store.claimable(now_ms - EXPIRY_MS, reviewed_only=self.keeper.holds),
            )
        return _Claim(claim_id, batch)

    def _enter(self, claim: _Claim) -> None:
        self.log.append(claimed(claim.id, self.clock.now_ms(), claim.batch), durable=True)
        for record in claim.batch:
            record.logged = True

    def _enter_outcome(self, claim: _Claim, outcome: PushOutcome) -> None:
        taken = [r.metering_sn for r in claim.batch] if outcome.kind is Kind.ACCEPTED else []
        entry = settled(claim.id, self.clock.now_ms(), outcome.kind, taken)
        self.log.append(entry, durable=False)

    def _settle(self, claim: _Claim, outcome: PushOutcome) -> None:
        """Step 5."""
        with writing(self.engine) as session:
            store.mark_logged(session, [r.metering_sn for r in claim.batch if r.logged])
            for serials, columns in judge(claim.batch, outcome, self.clock.now_ms()):
                lease_ms = claim.batch[0].next_attempt
                written = store.settle(session, serials, lease_ms=lease_ms, **columns)
                self.rejected += written if columns["state"] == State.REJECTED else 0

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
