"""The SQL of usage records: what is not yet recorded, and how it becomes records or buckets."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from billing_sync import origins, packages, records
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
from billing_sync.origins import Origins
from billing_sync.store.engine import add_up
from billing_sync.store.packages import unrecorded_uses
from metering.entitlement import InstanceStatus


class Unrecorded(NamedTuple):
    """Usage of one instance, window and meter that no record carries yet, and when it was used."""

    instance_id: str
    window: int
    meter: str
    quantity: int
    origins: Origins


class Recording(NamedTuple):
    """Usage that becomes records: the parts it was divided into, and what was drafted of them."""

    instance: Instance
    usage: Unrecorded
    parts: Sequence[records.Part]
    drafts: records.Drafts
    unit: int
    now_ms: int


def unrecorded(
    session: Session, *, partition: int, through_window: int, released_only: bool = False
) -> list[Unrecorded]:
    """Unrecorded usage of marketplace instances up to and including a window, oldest first."""
    quantity = func.sum(UsageWindow.quantity - UsageWindow.recorded)
    query: Any = (
        select(*_place(), col(UsageWindow.origin), quantity)  # type: ignore[call-overload]
        .join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .where(
            UsageWindow.partition == partition,
            UsageWindow.window <= through_window,
            UsageWindow.quantity > UsageWindow.recorded,
            Instance.source == "koogallery",
        )
        .group_by(*_place(), col(UsageWindow.origin))
    )
    if released_only:
        query = query.where(Instance.status == InstanceStatus.RELEASED)
    found: dict[tuple[int, str, str], list[tuple[int, int]]] = {}
    for instance_id, window, meter, origin, waiting in session.exec(query):
        found.setdefault((window, instance_id, meter), []).append((origin, int(waiting)))
    return [
        Unrecorded(i, w, m, sum(quantity for _, quantity in amounts), origins.of(amounts))
        for (w, i, m), amounts in sorted(found.items())
    ]


def _place() -> tuple[Any, ...]:
    return col(UsageWindow.instance_id), col(UsageWindow.window), col(UsageWindow.meter)


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
    """Unrecorded package slices that get records of their own, and the overshoot."""
    place = (usage.instance_id, usage.window)
    given = unrecorded_uses(session, place[:1], through_window=usage.window).get(place, {})
    return packages.slices(usage.quantity, given, naming)


def remainder(session: Session, instance_id: str, package_id: str) -> records.Remainder:
    """What earlier records left over below four decimals."""
    row = session.get(Carry, (instance_id, package_id))
    return records.Remainder(row.quantity, row.waiting) if row else records.Remainder(0, 0)


def store(session: Session, recording: Recording) -> None:
    """Write the records and remainders and mark the window's usage as recorded."""
    instance, left = recording.instance, recording.usage.origins
    for part in recording.parts:
        used, left = origins.split(left, part.quantity)
        if part.package_id in recording.drafts.remainders:
            _store_part(session, recording, part.package_id, used)
    session.add(instance)
    _mark_recorded(session, recording.usage)


def _store_part(session: Session, recording: Recording, package_id: str, used: Origins) -> None:
    """The records of one part carry what waited, then what is new; the rest waits."""
    instance, drafts = recording.instance, recording.drafts
    carry = session.get(Carry, (instance.id, package_id))
    pool = origins.of([*used, *(origins.decode(carry.origins) if carry else ())])
    for draft in drafts.records:
        if draft.package_id == package_id:
            carried, pool = origins.split(pool, draft.quantity)
            session.add(_record(recording, draft, carried))
            instance.recorded_until = max(instance.recorded_until, draft.end)
    row = Carry(
        instance_id=instance.id,
        package_id=package_id,
        quantity=drafts.remainders[package_id].carry,
        waiting=drafts.remainders[package_id].waiting,
        origins=origins.encode(pool),
    )
    session.merge(row)


def _record(recording: Recording, draft: records.Draft, carried: Origins) -> UsageRecord:
    instance, usage, now_ms = recording.instance, recording.usage, recording.now_ms
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
        unit=recording.unit,
        relate_pkg_instance=draft.package_id,
        window=usage.window,
        origins=origins.encode(carried),
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
