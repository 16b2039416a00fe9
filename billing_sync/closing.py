"""Closes windows and cuts intervals: unrecorded usage becomes usage records.

Runs inside one transaction per partition, under the partition's row lock that drains take too, so
a drain cannot slip usage behind a close.
"""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync import records
from billing_sync.models import Instance
from billing_sync.store import ledger
from billing_sync.store import records as store
from billing_sync.store.engine import writing
from billing_sync.store.packages import naming_packages
from billing_sync.store.records import Unrecorded
from metering.catalogue import Catalogue, Product
from metering.entitlement import InstanceStatus
from metering.windows import Window, end_ms, start_ms, window_of

# After a release the platform takes nothing that ends later than its own timestamp. The last
# regular interval stops this much earlier, so that late usage still has seconds to stand in.
RELEASE_ROOM_MS = 5000


class Room(NamedTuple):
    """Where the records of a window may lie: [begin, end), and the very last end there is."""

    begin: int
    end: int
    limit: int


def room_for(instance: Instance, window: Window, *, cut_at: int | None, now_ms: int) -> Room:
    """The interval for the next records of an instance's window. Pure."""
    begin = max(start_ms(window), records.up_to_second(instance.started), instance.recorded_until)
    limit = records.down_to_second(now_ms)
    end = min(end_ms(window), limit if cut_at is None else records.down_to_second(cut_at))
    if instance.released:
        limit = min(limit, records.down_to_second(instance.released))
        end = min(end, limit - RELEASE_ROOM_MS)
    return Room(begin, end, limit)


def close(
    engine: Engine, partition: int, *, through_ms: int, catalogue: Catalogue, now_ms: int
) -> int:
    """Close every window of the partition that ends at or before `through_ms`; the records made."""
    with writing(engine) as session:
        row = ledger.partition(session, partition)
        if row.closed_through >= through_ms:
            return 0
        row.closed_through = through_ms
        session.add(row)
        through = Window(window_of(through_ms) - 1)
        return _Recording(session, catalogue, now_ms).record_all(partition, through)


def cut(
    engine: Engine, partition: int, *, catalogue: Catalogue, now_ms: int, released_only: bool
) -> int:
    """Record what is unrecorded up to now, in the middle of a window; the records made."""
    with writing(engine) as session:
        ledger.partition(session, partition)
        recording = _Recording(session, catalogue, now_ms, cut_at=now_ms)
        return recording.record_all(partition, window_of(now_ms), released_only=released_only)


@dataclass(frozen=True, slots=True)
class _Recording:
    """One transaction's worth of turning usage into records."""

    session: Session
    catalogue: Catalogue
    now_ms: int
    cut_at: int | None = None

    def record_all(self, partition: int, through: Window, *, released_only: bool = False) -> int:
        made = 0
        waiting = store.unrecorded(self.session, partition=partition, through_window=through)
        for usage in waiting:
            instance = self.session.get_one(Instance, usage.instance_id)
            product = self.catalogue.get(instance.product_id)
            released = instance.status == InstanceStatus.RELEASED
            if product is not None and (released or not released_only):
                made += self._record(instance, product, usage)
        return made

    def _record(self, instance: Instance, product: Product, usage: Unrecorded) -> int:
        window = Window(usage.window)
        room = room_for(instance, window, cut_at=self.cut_at, now_ms=self.now_ms)
        naming = naming_packages(self.session, instance, product, self.catalogue)
        parts = _parts(self.session, instance, usage, naming)
        drafts = records.draft(parts, begin=room.begin, end=room.end, unit=product.unit)
        if drafts is None:  # no room inside the window: take the next free seconds
            drafts = _draft_late(parts, room, product.unit)
        if drafts is None:
            if instance.released:
                store.put_in_bucket(self.session, usage, "unbillable", usage.quantity)
                store.mark_recorded(self.session, usage)
            return 0
        overshoot = usage.quantity - sum(part.quantity for part in parts)
        if overshoot:
            store.put_in_bucket(self.session, usage, "overshoot", overshoot)
        store.store(self.session, instance, product.meter or "", usage, drafts, self.now_ms)
        return len(drafts.records)


def _draft_late(parts: list[records.Part], room: Room, unit: int) -> records.Drafts | None:
    for seconds in (len(parts), (room.limit - room.begin) // records.SECOND_MS):
        end = room.begin + seconds * records.SECOND_MS
        if room.begin < end <= room.limit:
            drafts = records.draft(parts, begin=room.begin, end=end, unit=unit)
            if drafts is not None:
                return drafts
    return None


def _parts(
    session: Session, instance: Instance, usage: Unrecorded, naming: list[str]
) -> list[records.Part]:
    """Slices of stop-before-excess packages in their order, then what is left."""
    taken = store.slices(session, usage, naming)
    rest = usage.quantity - sum(taken.values())
    named = [(package_id, taken[package_id]) for package_id in naming if package_id in taken]
    return [
        records.Part(package_id, quantity, store.carry(session, instance.id, package_id))
        for package_id, quantity in [*named, ("", rest)]
        if quantity
    ]
