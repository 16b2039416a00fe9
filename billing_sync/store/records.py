"""The SQL of usage records: what is not yet recorded, and how it becomes records or buckets."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from billing_sync import records
from billing_sync.lifecycle import Activity
from billing_sync.models import (
    Bucket,
    Carry,
    Instance,
    LifecycleInbox,
    PackageUse,
    UsageRecord,
    UsageWindow,
)
from billing_sync.packages import OVERSHOOT
from billing_sync.store.engine import add_up
from metering.entitlement import InstanceStatus


class Unrecorded(NamedTuple):
    """Usage of one instance, window and meter that no record carries yet."""

    instance_id: str
    window: int
    meter: str
    quantity: int


def unrecorded(
    session: Session, *, partition: int, through_window: int, released_only: bool = False
) -> list[Unrecorded]:
    """Unrecorded usage of marketplace instances up to and including a window, oldest first."""
    query = (
        select(
            UsageWindow.instance_id,
            UsageWindow.window,
            UsageWindow.meter,
            func.sum(UsageWindow.quantity - UsageWindow.recorded),
        )
        .join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .where(
            UsageWindow.partition == partition,
            UsageWindow.window <= through_window,
            UsageWindow.quantity > UsageWindow.recorded,
            Instance.source == "koogallery",
        )
        .group_by(col(UsageWindow.instance_id), col(UsageWindow.window), col(UsageWindow.meter))
        .order_by(col(UsageWindow.window), col(UsageWindow.instance_id), col(UsageWindow.meter))
    )
    if released_only:
        query = query.where(Instance.status == InstanceStatus.RELEASED)
    return [Unrecorded(i, w, m, int(q)) for i, w, m, q in session.exec(query)]


def partitions_with_released(session: Session, *, since_ms: int, until_ms: int) -> set[int]:
    """The partitions with unrecorded usage of instances whose release came in in between.

    By the time it was received: the marketplace's own timestamp may be a minute off.
    """
    query = (
        select(UsageWindow.partition)
        .join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .join(LifecycleInbox, col(LifecycleInbox.instance_id) == Instance.id)
        .where(
            LifecycleInbox.activity == Activity.RELEASE,
            LifecycleInbox.received_at > since_ms,
            LifecycleInbox.received_at <= until_ms,
            UsageWindow.quantity > UsageWindow.recorded,
            Instance.status == InstanceStatus.RELEASED,
            Instance.source == "koogallery",
        )
        .distinct()
    )
    return set(session.exec(query))


def slices(session: Session, usage: Unrecorded, naming: Sequence[str]) -> dict[str, int]:
    """Unrecorded package slices that get records of their own, and the overshoot.

    Never more than the usage itself: slices of a meter the product had before are not this usage's.
    """
    query = select(PackageUse).where(
        PackageUse.instance_id == usage.instance_id,
        PackageUse.window == usage.window,
        col(PackageUse.package_id).in_([*naming, OVERSHOOT]),
        PackageUse.quantity > PackageUse.recorded,
    )
    waiting = {row.package_id: row.quantity - row.recorded for row in session.exec(query)}
    taken = {}
    left = usage.quantity
    for package_id in [*naming, OVERSHOOT]:
        part = min(waiting.get(package_id, 0), left)
        if part:
            taken[package_id] = part
            left -= part
    return taken


def remainder(session: Session, instance_id: str, package_id: str) -> records.Remainder:
    """What earlier records left over below four decimals."""
    row = session.get(Carry, (instance_id, package_id))
    return records.Remainder(row.quantity, row.waiting) if row else records.Remainder(0, 0)


def store(
    session: Session, instance: Instance, usage: Unrecorded, drafts: records.Drafts, now_ms: int
) -> None:
    """Write the records and remainders and mark the window's usage as recorded."""
    for draft in drafts.records:
        session.add(_record(instance, usage, draft, now_ms))
        instance.recorded_until = max(instance.recorded_until, draft.end)
    for package_id, rest in drafts.remainders.items():
        row = Carry(
            instance_id=instance.id,
            package_id=package_id,
            quantity=rest.carry,
            waiting=rest.waiting,
        )
        session.merge(row)
    session.add(instance)
    _mark_recorded(session, usage)


def _record(
    instance: Instance, usage: Unrecorded, draft: records.Draft, now_ms: int
) -> UsageRecord:
    return UsageRecord(
        metering_sn=records.metering_sn(instance.id, draft.begin, draft.end),
        instance_id=instance.id,
        customer_id=instance.customer_id,
        product_id=instance.product_id,
        meter=usage.meter,
        begin=draft.begin,
        end=draft.end,
        recorded_at=now_ms,
        quantity=draft.quantity,
        value=str(draft.value),
        relate_pkg_instance=draft.package_id,
        window=usage.window,
        next_attempt=now_ms,
    )


def _mark_recorded(session: Session, usage: Unrecorded) -> None:
    """All usage of the instance in the window and meter stands in records or buckets now."""
    session.execute(
        update(UsageWindow)
        .where(
            col(UsageWindow.instance_id) == usage.instance_id,
            col(UsageWindow.window) == usage.window,
            col(UsageWindow.meter) == usage.meter,
        )
        .values(recorded=col(UsageWindow.quantity))
    )
    session.execute(
        update(PackageUse)
        .where(
            col(PackageUse.instance_id) == usage.instance_id,
            col(PackageUse.window) == usage.window,
        )
        .values(recorded=col(PackageUse.quantity))
    )


def put_in_bucket(session: Session, usage: Unrecorded, name: str, quantity: int) -> None:
    """Name usage that no record will carry, if there is any."""
    row = {"instance_id": usage.instance_id, "window": usage.window, "name": name}
    if quantity:
        add_up(session, Bucket, [{**row, "quantity": quantity}], "quantity")
