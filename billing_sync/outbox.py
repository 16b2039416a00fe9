"""Pushes pending usage records to the marketplace.

1. claim a batch in SQL (`sending`, leased)   a crash leaves it sending until the lease ends
2. POST                                       a crash or time-out leaves it sending: it is sent again
3. write the outcome in SQL

Records carry their id, interval and record time from birth, so a repeat is the same record and the
marketplace counts it once (spec §7.2, rule 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.usage_push import serialise
from billing_sync.models import UsageRecord
from billing_sync.store import records as store
from billing_sync.store.engine import writing
from metering.clock import Clock

BATCH: Final = 1000  # spec §7.1
LEASE_MS: Final = 60_000
_LONGEST_WAIT_MS: Final = 60_000


class Pusher(Protocol):
    """Sends one serialised batch."""

    async def push(self, body: bytes) -> PushOutcome: ...


@dataclass
class Outbox:
    """Claims, pushes and settles."""

    engine: Engine
    pusher: Pusher
    clock: Clock
    batch_size: int = BATCH
    outcomes: dict[str, int] = field(default_factory=dict)

    async def push_due(self) -> int:
        """Push every record that is due, batch by batch; how many were accepted."""
        accepted = 0
        while batch := await to_thread.run_sync(self._claim):
            outcome = await self.pusher.push(serialise(batch))
            self.outcomes[outcome.kind] = self.outcomes.get(outcome.kind, 0) + 1
            await to_thread.run_sync(self._settle, batch, outcome)
            accepted += len(batch) if outcome.kind is Kind.ACCEPTED else 0
        return accepted

    def _claim(self) -> list[UsageRecord]:
        now_ms = self.clock.now_ms()
        with writing(self.engine) as session:
            return store.claim(
                session, now_ms=now_ms, until_ms=now_ms + LEASE_MS, limit=self.batch_size
            )

    def _settle(self, batch: Sequence[UsageRecord], outcome: PushOutcome) -> None:
        verdicts = judge(batch, outcome, self.clock.now_ms())
        with writing(self.engine) as session:
            for serials, columns in verdicts:
                store.settle(session, serials, **columns)


Verdict = tuple[list[str], dict[str, object]]


def judge(batch: Sequence[UsageRecord], outcome: PushOutcome, now_ms: int) -> list[Verdict]:
    """What becomes of a batch's records: ids and the columns to set. Pure.

    Records that the marketplace names as bad are rejected and the others go again. A batch refused
    without names is taken apart: each record goes alone, so one bad record holds nobody up. Where
    our keys or rights are at fault no record is: all wait until somebody mends them.
    """
    serials = [record.metering_sn for record in batch]
    error = f"{outcome.code} {outcome.message}".strip()[:500]
    if outcome.kind is Kind.ACCEPTED:
        return [(serials, {"state": "sent", "sent_at": now_ms, "error": ""})]
    if outcome.kind is Kind.PERMANENT and outcome.blame is not Blame.CALLER:
        return _blame_records(serials, outcome.abnormal, error, now_ms)
    wait = max(
        backoff_ms(max(record.attempts for record in batch)),
        int((outcome.retry_after_s or 0) * 1000),
    )
    state = "sending" if outcome.kind is Kind.AMBIGUOUS else "pending"
    return [(serials, {"state": state, "next_attempt": now_ms + wait, "error": error})]


def _blame_records(
    serials: list[str], abnormal: Sequence[str], error: str, now_ms: int
) -> list[Verdict]:
    rejected: dict[str, object] = {"state": "rejected", "error": error}
    if len(serials) == 1:
        return [(serials, rejected)]
    again: dict[str, object] = {"state": "pending", "next_attempt": now_ms, "error": error}
    bad = set(abnormal) & set(serials)
    if not bad:
        return [(serials, {**again, "alone": True})]
    return [(sorted(bad), rejected), ([sn for sn in serials if sn not in bad], again)]


def backoff_ms(attempts: int) -> int:
    """1, 2, 4 … 60 seconds after the first, second, third … attempt."""
    return int(min(1000 * 2 ** min(attempts - 1, 10), _LONGEST_WAIT_MS))
