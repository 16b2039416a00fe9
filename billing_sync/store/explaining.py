"""The SQL behind `explain`: from an hour of use to its rows and records, and from a number to its drain."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlmodel import Session, col, select

from billing_sync import origins
from billing_sync.models import Bucket, Carry, Drain, FindingRow, UsageRecord, UsageWindow


class Used(NamedTuple):
    """One instance's use of one meter in one hour: what all questions here are about."""

    instance_id: str
    meter: str
    origin: int


class DrainedBy(NamedTuple):
    """The drain that brought a record into the ledger; `at` is UTC ms."""

    id: str
    at: int


def record(session: Session, metering_sn: str) -> UsageRecord | None:
    """The usage record with this id."""
    return session.get(UsageRecord, metering_sn)


def booked(session: Session, used: Used) -> Sequence[UsageWindow]:
    """Where the use is booked: its own window, and others with a mark."""
    query = (
        select(UsageWindow)
        .where(
            UsageWindow.instance_id == used.instance_id,
            UsageWindow.meter == used.meter,
            UsageWindow.origin == used.origin,
        )
        .order_by(col(UsageWindow.window), col(UsageWindow.mark))
    )
    return session.exec(query).all()


def records_of(session: Session, used: Used) -> list[tuple[UsageRecord, int]]:
    """The usage records that carry some of the use, and how much of it each does."""
    query = (
        select(UsageRecord)
        .where(
            UsageRecord.instance_id == used.instance_id,
            UsageRecord.meter == used.meter,
            col(UsageRecord.origins).contains(f"[{used.origin},"),
        )
        .order_by(col(UsageRecord.begin))
    )
    carried = [(row, _of(row.origins, used.origin)) for row in session.exec(query)]
    return [(row, quantity) for row, quantity in carried if quantity]


def waiting(session: Session, used: Used) -> int:
    """How much of the use waits below four decimals for the instance's next record."""
    query = select(Carry.origins).where(Carry.instance_id == used.instance_id)
    return sum(_of(text, used.origin) for text in session.exec(query))


def buckets(session: Session, instance_id: str, windows: Iterable[int]) -> dict[str, int]:
    """What stands in the instance's buckets for these windows, by name."""
    query = select(Bucket).where(
        Bucket.instance_id == instance_id, col(Bucket.window).in_(list(windows))
    )
    found: dict[str, int] = {}
    for row in session.exec(query):
        found[row.name] = found.get(row.name, 0) + row.quantity
    return found


def drained_by(session: Session, partition: int, lane: str, number: int) -> DrainedBy | None:
    """The drain that took the lane's record; None for one that is no longer remembered."""
    query = (
        select(Drain.id, Drain.at, Drain.positions)
        .where(Drain.partition == partition, col(Drain.positions).contains(f'"{lane}"'))
        .order_by(col(Drain.at).desc())
        .execution_options(yield_per=1000)
    )
    for drain_id, at, positions in session.exec(query):
        after, through = json.loads(positions)[lane]
        if after < number <= through:
            return DrainedBy(drain_id, at)
    return None


def findings_of(session: Session, request_id: str) -> list[FindingRow]:
    """What was found out about the request without counting it."""
    return list(session.exec(select(FindingRow).where(FindingRow.request_id == request_id)))


def _of(text: str, origin: int) -> int:
    return dict(origins.decode(text)).get(origin, 0)
