"""Tends what stands in the outbox between its making and its end. The order, and what a crash after
each step leaves behind (each is a transaction of its own, of at most so many records):

1. release what was held until its time    the rest is released by the next one
2. review new records: held, or free to    records not reviewed cannot be claimed where a rule may
   go                                      hold, so none slips out in between
3. once a minute: name what is too old,    each is found again
   assume what was collected, look at the
   deadlines

Several control planes may do it at once: each takes the records that no other has locked. Nothing
is done while billing is stopped.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.deadlines import DAY_MS, EXPIRY_MS, Deadline, deadline, last_collection, of_cycle
from billing_sync.holding import Evidence, Reason, Rule, judge, release_at
from billing_sync.models import UsageRecord
from billing_sync.push_entries import Acted
from billing_sync.settings import BillingSettings
from billing_sync.states import Act, State
from billing_sync.store import acts, reviewing, stops
from billing_sync.store import outbox as store
from billing_sync.store.engine import writing
from billing_sync.watching import Terms, Warner, risks_at
from metering.clock import Clock
from metering.windows import HOUR_MS

log = logging.getLogger("tallygate.push")

_MINUTE_MS: Final = 60_000
_RECENT_CYCLES: Final = 3  # times `baseline`: what is used in every third of them is in there
_BY_RULE: Final = "tallygate"  # the author of what no person decided


@dataclass
class Tender:
    """Holds, releases, expires and collects. The counters are of records, `held` by reason.

    `new_id` gives fresh random ids for acts.
    """

    engine: Engine
    clock: Clock
    new_id: Callable[[], str]
    terms: Terms = field(default_factory=Terms)
    billing: BillingSettings = field(default_factory=BillingSettings)
    held: dict[str, int] = field(default_factory=dict)
    released: int = 0
    expired: int = 0
    collected: int = 0

    def __post_init__(self) -> None:
        hold = self.billing.hold
        self.holds = hold.is_on
        self._rule = Rule(hold.times, hold.above, hold.estimated_share)
        self._minute = -1
        self._warner = Warner()
        self._kept: dict[str, Reason] = {}  # not said yet
        self._let_go: list[str] = []

    def tend(self) -> None:
        """All steps. Raises SQLAlchemyError."""
        minute = self.clock.now_ms() // _MINUTE_MS
        if self.holds:
            self._all_of(self._release)
            self._all_of(self._review)
            self._say()
        if minute != self._minute:
            self._all_of(self._age)
            self._minute = minute
            self._say()

    def _all_of(self, step: Callable[[Session], int]) -> None:
        """A step again and again, until it finds less than it may take at once."""
        done = store.SOME
        while done >= store.SOME:
            with writing(self.engine) as session:
                done = step(session) if stops.stopped(session) is None else 0

    def _say(self) -> None:
        """Once, however many transactions it took."""
        kept, self._kept = self._kept, {}
        let_go, self._let_go = self._let_go, []
        if let_go:
            log.warning(
                "%d held usage records are pushed now, because nobody decided until push_by (%s …)",
                len(let_go),
                let_go[0],
            )
        for serial, reason in list(kept.items())[:1]:
            log.warning(
                "%d usage records are held for a person to look at (%s: %s); see `tallygate records "
                "list --state held`",
                len(kept),
                serial,
                reason.text,
            )

    def _release(self, session: Session) -> int:
        """Step 1."""
        now_ms = self.clock.now_ms()
        due = reviewing.due_releases(session, now_ms)
        for record in due:
            acts.change(session, record, acts.columns_after(Act.RELEASE, State.PENDING, "", now_ms))
            self._note(session, record, Act.RELEASE, "nobody decided until billing.push_by")
        self.released += len(due)
        self._let_go += [record.metering_sn for record in due]
        return len(due)

    def _review(self, session: Session) -> int:
        """Step 2."""
        new = reviewing.new_records(session)
        reasons = self._reasons(session, new)
        for record in new:
            if reason := reasons.get(record.metering_sn):
                self._hold(session, record, reason)
        free = [record.metering_sn for record in new if record.metering_sn not in reasons]
        reviewing.mark_reviewed(session, free)
        self._kept |= reasons
        return len(new)

    def _reasons(self, session: Session, new: Sequence[UsageRecord]) -> dict[str, Reason]:
        if not new:
            return {}
        earlier: reviewing.Earlier = {}
        shares: reviewing.Shares = {}
        if self._rule.times is not None:
            suspects = self._suspects(session, new, self._rule.times)
            earlier = reviewing.earlier_values(session, suspects, self.billing.hold.baseline)
        if self._rule.estimated_share is not None:
            shares = reviewing.estimated_shares(session, new)
        found = {}
        for record in new:
            estimated, used = shares.get(record.metering_sn, (0, 0))
            values = earlier.get((record.instance_id, record.product_id), [])
            seen = Evidence(Decimal(record.value), values, used, estimated)
            if reason := judge(self._rule, seen):
                found[record.metering_sn] = reason
        return found

    def _suspects(
        self, session: Session, new: Sequence[UsageRecord], times: Decimal
    ) -> list[UsageRecord]:
        """Those whose earlier values must be read one by one: no median is below the lowest value,
        where the last `baseline` records are sure to be among the recent ones."""
        most = self.billing.hold.baseline
        cycle_ms = (
            DAY_MS if any(self._kind(record) is Deadline.DAILY for record in new) else HOUR_MS
        )
        since = min(record.begin for record in new) - _RECENT_CYCLES * most * cycle_ms
        recent = reviewing.recent(session, new, since)
        found = []
        for record in new:
            count, lowest = recent.get((record.instance_id, record.product_id), (0, Decimal(0)))
            if count < most or Decimal(record.value) > lowest * times:
                found.append(record)
        return found

    def _kind(self, record: UsageRecord) -> Deadline:
        product = self.terms.catalogue.get(record.product_id)
        return of_cycle(product.cycle) if product else Deadline.HOURLY

    def _hold(self, session: Session, record: UsageRecord, reason: Reason) -> None:
        columns = {
            "state": State.HELD,
            "code": reason.code,
            "error": reason.text,
            "release_by": release_at(
                self.clock.now_ms(),
                push_by_ms=self.billing.push_by_ms,
                deadline_ms=deadline(self._kind(record), record.end, self.terms.zone),
            ),
        }
        acts.change(session, record, columns)
        self._note(session, record, Act.HOLD, reason.text)
        self.held[reason.code] = self.held.get(reason.code, 0) + 1

    def _age(self, session: Session) -> int:
        """Step 3, and step 1 where no rule holds any more but something is still held."""
        now_ms = self.clock.now_ms()
        expired = store.expire(session, oldest_ms=now_ms - EXPIRY_MS, now_ms=now_ms)
        if expired:
            log.error("%d usage records became too old to be pushed (MKT.9004)", expired)
        daily = self.terms.daily
        hourly = store.collect(
            session, self._collection(Deadline.HOURLY, now_ms), daily, of_these=False
        )
        by_day = store.collect(session, self._collection(Deadline.DAILY, now_ms), daily)
        self.expired += expired
        self.collected += hourly + by_day
        most = max(self._release(session), expired, hourly, by_day)
        if most < store.SOME:
            self._warner.look(risks_at(session, self.terms, now_ms))
        return most

    def _collection(self, kind: Deadline, now_ms: int) -> int:
        return last_collection(kind, now_ms, self.terms.zone)

    def _note(self, session: Session, record: UsageRecord, act: Act, reason: str) -> None:
        at, serial = self.clock.now_ms(), record.metering_sn
        acts.add(session, Acted(self.new_id(), at, act.value, _BY_RULE, reason, serial))
