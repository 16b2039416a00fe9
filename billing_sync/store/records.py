"""The SQL of usage records: what is not yet recorded, the records themselves, their way out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from billing_sync import records
from billing_sync.models import Bucket, Carry, Instance, PackageUse, UsageRecord, UsageWindow
from billing_sync.packages import OVERSHOOT
from billing_sync.store.engine import add_up
from metering.entitlement import InstanceStatus


class Unrecorded(NamedTuple):
    """Usage of one instance and window that no record carries yet."""

    instance_id: str
    window: int
    quantity: int


def unrecorded(session: Session, *, partition: int, through_window: int) -> list[Unrecorded]:
    """Unrecorded usage of marketplace instances up to and including a window, oldest first."""
    query = (
        select(
            UsageWindow.instance_id,
            UsageWindow.window,
            func.sum(UsageWindow.quantity - UsageWindow.recorded),
        )
        .join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .where(
            UsageWindow.partition == partition,
            UsageWindow.window <= through_window,
            UsageWindow.quantity > UsageWindow.recorded,
            Instance.source == "koogallery",
        )
        .group_by(col(UsageWindow.instance_id), col(UsageWindow.window))
        .order_by(col(UsageWindow.window), col(UsageWindow.instance_id))
    )
    return [Unrecorded(i, w, int(q)) for i, w, q in session.exec(query)]


def partitions_with_released(session: Session, *, until_ms: int) -> set[int]:
    """The partitions where an instance released before `until_ms` has unrecorded usage."""
    query = (
        select(UsageWindow.partition)
        .join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .where(
            UsageWindow.quantity > UsageWindow.recorded,
            Instance.status == InstanceStatus.RELEASED,
            Instance.released <= until_ms,
            Instance.source == "koogallery",
        )
        .distinct()
    )
    return set(session.exec(query))


def slices(session: Session, usage: Unrecorded, naming: Iterable[str]) -> dict[str, int]:
    """Unrecorded package slices that get records of their own, and the overshoot."""
    query = select(PackageUse).where(
        PackageUse.instance_id == usage.instance_id,
        PackageUse.window == usage.window,
        col(PackageUse.package_id).in_([*naming, OVERSHOOT]),
        PackageUse.quantity > PackageUse.recorded,
    )
    return {row.package_id: row.quantity - row.recorded for row in session.exec(query)}


def carry(session: Session, instance_id: str, package_id: str) -> int:
    """The remainder of earlier records, in ten-thousandths of the meter's unit."""
    row = session.get(Carry, (instance_id, package_id))
    return row.quantity if row else 0


def store(
    session: Session,
    instance: Instance,
    meter: str,
    usage: Unrecorded,
    drafts: records.Drafts,
    now_ms: int,
) -> None:
    """Write the records and carries and mark the window's usage as recorded."""
    for draft in drafts.records:
        session.add(
            UsageRecord(
                metering_sn=records.metering_sn(instance.id, draft.begin, draft.end),
                instance_id=instance.id,
                customer_id=instance.customer_id,
                product_id=instance.product_id,
                meter=meter,
                begin=draft.begin,
                end=draft.end,
                recorded_at=now_ms,
                quantity=draft.quantity,
                value=str(draft.value),
                relate_pkg_instance=draft.package_id,
                window=usage.window,
                next_attempt=now_ms,
            )
        )
        instance.recorded_until = max(instance.recorded_until, draft.end)
    for package_id, rest in drafts.carries.items():
        session.merge(Carry(instance_id=instance.id, package_id=package_id, quantity=rest))
    session.add(instance)
    mark_recorded(session, usage)


def mark_recorded(session: Session, usage: Unrecorded) -> None:
    """All usage of the instance in the window stands in records or buckets now."""
    for table in (UsageWindow, PackageUse):
        session.execute(
            update(table)
            .where(
                col(table.instance_id) == usage.instance_id,
                col(table.window) == usage.window,
            )
            .values(recorded=col(table.quantity))
        )


def put_in_bucket(session: Session, usage: Unrecorded, name: str, quantity: int) -> None:
    """Name usage that no record will carry."""
    row = {"instance_id": usage.instance_id, "window": usage.window, "name": name}
    add_up(session, Bucket, [{**row, "quantity": quantity}], "quantity")


def claim(session: Session, *, now_ms: int, until_ms: int, limit: int) -> list[UsageRecord]:
    """The next batch to push, marked `sending`; nobody else takes it before `until_ms`.

    A record whose batch was refused whole comes alone.
    """
    due = (
        select(UsageRecord)
        .where(
            col(UsageRecord.state).in_(["pending", "sending"]),
            UsageRecord.next_attempt <= now_ms,
        )
        .order_by(
            col(UsageRecord.alone).desc(), col(UsageRecord.begin), col(UsageRecord.metering_sn)
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    batch = list(session.exec(due))
    if batch and batch[0].alone:
        batch = batch[:1]
    for record in batch:
        record.state = "sending"
        record.attempts += 1
        record.next_attempt = until_ms
        session.add(record)
    return batch


def settle(session: Session, serials: Sequence[str], **columns: object) -> None:
    """Write what became of a batch."""
    session.execute(
        update(UsageRecord).where(col(UsageRecord.metering_sn).in_(serials)).values(**columns)
    )


def count_by_state(session: Session) -> dict[str, int]:
    """How many records stand in each state."""
    query = select(UsageRecord.state, func.count()).group_by(UsageRecord.state)
    return {state: int(count) for state, count in session.exec(query)}
