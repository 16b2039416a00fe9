"""The SQL of what is to be recorded: where released instances wait, and what packages gave."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from billing_sync.grouping import Unrecorded
from billing_sync.lifecycle import Activity
from billing_sync.models import Instance, LifecycleInbox, PackageUse, UsageWindow
from billing_sync.packages import OVERSHOOT
from metering.entitlement import InstanceStatus


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
