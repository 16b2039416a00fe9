"""The SQL of usage questions: per customer, instance, meter and window, over the ledger alone."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.models import Bucket, Instance, Partition, UsageRecord, UsageWindow
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import Window


class UsageFilter(NamedTuple):
    """What a question is about; None asks for everything. Windows are half-open."""

    customer_id: str | None = None
    instance_id: str | None = None
    meter: str | None = None
    from_window: int | None = None
    to_window: int | None = None

    def matches(self, key: DeltaKey) -> bool:
        """Does a delta that still is in Redis belong to the answer?"""
        return (
            self.customer_id in (None, key.customer_id)
            and self.instance_id in (None, key.instance_id)
            and self.meter in (None, key.meter)
            and (self.from_window is None or key.window >= self.from_window)
            and (self.to_window is None or key.window < self.to_window)
        )


def deltas_in_ledger(session: Session, wanted: UsageFilter) -> dict[DeltaKey, int]:
    """The matching usage windows, marks and grades folded into the key's own."""
    query = select(UsageWindow)
    if wanted.customer_id is not None:
        query = query.where(UsageWindow.customer_id == wanted.customer_id)
    if wanted.instance_id is not None:
        query = query.where(UsageWindow.instance_id == wanted.instance_id)
    if wanted.meter is not None:
        query = query.where(UsageWindow.meter == wanted.meter)
    if wanted.from_window is not None:
        query = query.where(UsageWindow.window >= wanted.from_window)
    if wanted.to_window is not None:
        query = query.where(UsageWindow.window < wanted.to_window)
    found: dict[DeltaKey, int] = {}
    for row in session.exec(query):
        key = DeltaKey(
            Window(row.window),
            row.customer_id,
            row.instance_id,
            row.route,
            row.meter,
            Grade(row.grade),
        )
        found[key] = found.get(key, 0) + row.quantity
    return found


def partition_places(session: Session) -> dict[int, tuple[str, str]]:
    """Epoch and last drain of every partition, of this snapshot."""
    return {row.id: (row.epoch, row.last) for row in session.exec(select(Partition))}


def instances(session: Session, ids: Sequence[str]) -> dict[str, Instance]:
    """The instances by id."""
    rows = session.exec(select(Instance).where(col(Instance.id).in_(ids)))
    return {row.id: row for row in rows}


def instances_of(session: Session, customer_id: str, product_ids: Sequence[str]) -> list[Instance]:
    """A customer's instances of some products, oldest first."""
    query = (
        select(Instance)
        .where(Instance.customer_id == customer_id, col(Instance.product_id).in_(product_ids))
        .order_by(col(Instance.started), col(Instance.id))
    )
    return list(session.exec(query))


def buckets(session: Session) -> dict[str, int]:
    """What stands in each bucket, in meter units, over all instances."""
    query = select(Bucket.name, func.sum(Bucket.quantity)).group_by(Bucket.name)
    return {name: int(total) for name, total in session.exec(query)}


def unpushed(session: Session) -> tuple[int, int]:
    """How many records wait to be pushed, and the earliest window end among them (0 without)."""
    waiting = col(UsageRecord.state).in_(["pending", "held", "sending"])
    count, oldest = session.exec(
        select(func.count(), func.min(UsageRecord.end)).where(waiting)
    ).one()
    return int(count), int(oldest or 0)
