"""The SQL of usage records on their way out: claimed, settled, moved on, counted.

Every statement names the states it may move a record from (billing_sync.states), so whoever comes
too late changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, update
from sqlmodel import Session, col, select

from billing_sync.models import PushClaim, UsageRecord
from billing_sync.states import TOO_OLD, State, sources
from billing_sync.store.engine import in_parts

SOME = 1000  # records moved in one transaction


def is_new() -> ColumnElement[bool]:
    """Records that nobody has looked at and that were never on their way."""
    return and_(
        col(UsageRecord.state) == State.PENDING,
        col(UsageRecord.reviewed).is_(False),
        col(UsageRecord.attempts) == 0,
        col(UsageRecord.logged).is_(False),
    )


def claim(
    session: Session,
    claim_id: str,
    *,
    now_ms: int,
    until_ms: int,
    limit: int,
    where: Sequence[ColumnElement[bool]] = (),
) -> list[UsageRecord]:
    """The next batch to push, marked `sending`; nobody else takes it before `until_ms`.

    What was tried least comes first, of that the oldest, and only what was tried as often goes
    together: what failed with a bad record among it lets the others pass. A record that is to go
    alone comes by itself, after all others. A batch that is not empty is remembered by its
    `claim_id`.
    """
    due = (
        select(UsageRecord)
        .where(
            col(UsageRecord.state).in_([State.PENDING, State.SENDING]),
            UsageRecord.next_attempt <= now_ms,
            *where,
        )
        .order_by(
            col(UsageRecord.alone),
            col(UsageRecord.attempts),
            col(UsageRecord.begin),
            col(UsageRecord.metering_sn),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    batch = list(session.exec(due))
    together = _alike(batch)
    for record in together:
        record.state = State.SENDING
        record.attempts += 1
        record.next_attempt = until_ms
        session.add(record)
    if together:
        session.add(PushClaim(id=claim_id, at=now_ms))
    return together


def _alike(batch: list[UsageRecord]) -> list[UsageRecord]:
    if not batch or batch[0].alone:
        return batch[:1]
    attempts = batch[0].attempts
    return [record for record in batch if record.attempts == attempts and not record.alone]


def claimable(oldest_ms: int, *, reviewed_only: bool) -> list[ColumnElement[bool]]:
    """What else a claim asks: not too old to be taken, and looked at where somebody looks."""
    young = col(UsageRecord.begin) > oldest_ms
    return [young, not_(is_new())] if reviewed_only else [young]


def settle(session: Session, serials: Sequence[str], *, lease_ms: int, **columns: object) -> int:
    """Write what became of a batch claimed until `lease_ms`; how many it was still true of.

    A record that somebody else has claimed meanwhile is his.
    """
    settled = session.execute(
        update(UsageRecord)
        .where(
            col(UsageRecord.metering_sn).in_(serials),
            col(UsageRecord.state) == State.SENDING,
            col(UsageRecord.next_attempt) == lease_ms,
        )
        .values(**columns)
    )
    return int(settled.rowcount)  # type: ignore[attr-defined]


def mark_logged(session: Session, serials: Sequence[str]) -> None:
    """The records stand in the push log: the next entry need not hold them again."""
    session.execute(
        update(UsageRecord)
        .where(col(UsageRecord.metering_sn).in_(serials), col(UsageRecord.logged).is_(False))
        .values(logged=True)
    )


def expire(session: Session, *, oldest_ms: int, now_ms: int) -> int:
    """Name some records that the marketplace takes no more; how many.

    One that is being pushed at this moment is left to its lease.
    """
    idle = not_(
        and_(col(UsageRecord.state) == State.SENDING, col(UsageRecord.next_attempt) > now_ms)
    )
    return _move(
        session,
        [
            col(UsageRecord.state).in_(sources(State.EXPIRED)),
            col(UsageRecord.begin) <= oldest_ms,
            idle,
        ],
        {
            "state": State.EXPIRED,
            "code": TOO_OLD,
            "error": "begin_time is older than 21 days: the marketplace takes it no more",
            "release_by": 0,
        },
    )


def collect(
    session: Session, at_ms: int, product_ids: Sequence[str], *, of_these: bool = True
) -> int:
    """Assume that some records sent before the collection at `at_ms` were in it; how many.

    Those of the products, or with `of_these` false those of all others.
    """
    mine = col(UsageRecord.product_id).in_(product_ids)
    return _move(
        session,
        [
            col(UsageRecord.state) == State.SENT,
            col(UsageRecord.sent_at) < at_ms,
            mine if of_these else not_(mine),
        ],
        {"state": State.COLLECTED, "collected_at": at_ms},
    )


def confirm(session: Session, serials: Sequence[str], at: int) -> int:
    """The marketplace lists these records: they are `confirmed`; of how many that is news.

    Its word counts more than our own, so also a record that we thought was refused or too old, or
    still meant to push, is confirmed and not pushed again. A held one is not: it was never sent.
    """
    moved = 0
    for some in in_parts(serials):
        done = session.execute(
            update(UsageRecord)
            .where(
                col(UsageRecord.metering_sn).in_(some),
                col(UsageRecord.state).in_(sources(State.CONFIRMED)),
            )
            .values(state=State.CONFIRMED, confirmed_at=at, code="", error="")
        )
        moved += int(done.rowcount)  # type: ignore[attr-defined]
    return moved


def refuse(session: Session, refused: Mapping[str, tuple[str, str]]) -> int:
    """The marketplace's background validation refused these records, with its code and words: they
    are dead letters that a person retries (spec §7.2, rule 1). How many that is news of."""
    moved = 0
    for serial, (code, words) in refused.items():
        done = session.execute(
            update(UsageRecord)
            .where(
                col(UsageRecord.metering_sn) == serial,
                col(UsageRecord.state).in_([State.SENDING, State.SENT, State.COLLECTED]),
            )
            .values(state=State.REJECTED, code=code[:64], error=f"{code} {words}".strip()[:500])
        )
        moved += int(done.rowcount)  # type: ignore[attr-defined]
    return moved


def in_flight(session: Session, *, now_ms: int) -> int:
    """How many records somebody is pushing at this moment."""
    query = select(func.count()).where(
        UsageRecord.state == State.SENDING,
        UsageRecord.attempts > 0,
        UsageRecord.next_attempt > now_ms,
    )
    return int(session.exec(query).one())


def count_by_state(session: Session) -> dict[str, int]:
    """How many records stand in each state."""
    query = select(UsageRecord.state, func.count()).group_by(UsageRecord.state)
    return {state: int(count) for state, count in session.exec(query)}


def _move(
    session: Session, where: Sequence[ColumnElement[bool]], columns: Mapping[str, Any]
) -> int:
    """Some of the matching records, leaving alone those that somebody else is moving."""
    query = select(UsageRecord.metering_sn).where(*where).limit(SOME)
    serials = list(session.exec(query.with_for_update(skip_locked=True)))
    if serials:
        matching = col(UsageRecord.metering_sn).in_(serials)
        session.execute(update(UsageRecord).where(matching).values(**columns))
    return len(serials)
