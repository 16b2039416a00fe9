"""The SQL of what is to be recorded: where released instances wait, and what packages gave."""

from sqlmodel import Session, col, select

from billing_sync.lifecycle import Activity
from billing_sync.models import Instance, LifecycleInbox, UsageWindow
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
