"""The SQL of usage records on their way out: claimed, settled, counted."""

from collections.abc import Sequence

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from billing_sync.models import PushClaim, UsageRecord


def claim(
    session: Session, claim_id: str, *, now_ms: int, until_ms: int, limit: int
) -> list[UsageRecord]:
    """The next batch to push, marked `sending`; nobody else takes it before `until_ms`.

    Oldest first. A record that is to go alone comes by itself, after all others. A batch that is not
    empty is remembered by its `claim_id`.
    """
    due = (
        select(UsageRecord)
        .where(
            col(UsageRecord.state).in_(["pending", "sending"]),
            UsageRecord.next_attempt <= now_ms,
        )
        .order_by(col(UsageRecord.alone), col(UsageRecord.begin), col(UsageRecord.metering_sn))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    batch = list(session.exec(due))
    together = [record for record in batch if not record.alone] or batch[:1]
    for record in together:
        record.state = "sending"
        record.attempts += 1
        record.next_attempt = until_ms
        session.add(record)
    if together:
        session.add(PushClaim(id=claim_id, at=now_ms))
    return together


def settle(session: Session, serials: Sequence[str], *, lease_ms: int, **columns: object) -> int:
    """Write what became of a batch claimed until `lease_ms`; how many it was still true of.

    A record that somebody else has claimed meanwhile is his.
    """
    settled = session.execute(
        update(UsageRecord)
        .where(
            col(UsageRecord.metering_sn).in_(serials),
            col(UsageRecord.state) == "sending",
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


def in_flight(session: Session, *, now_ms: int) -> int:
    """How many records somebody is pushing at this moment."""
    query = select(func.count()).where(
        UsageRecord.state == "sending", UsageRecord.attempts > 0, UsageRecord.next_attempt > now_ms
    )
    return int(session.exec(query).one())


def count_by_state(session: Session) -> dict[str, int]:
    """How many records stand in each state."""
    query = select(UsageRecord.state, func.count()).group_by(UsageRecord.state)
    return {state: int(count) for state, count in session.exec(query)}
