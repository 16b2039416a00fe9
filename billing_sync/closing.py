"""Closes windows and cuts intervals: unrecorded usage becomes usage records.

The order, and what a crash after each step leaves behind:

1. the partition's row is locked     nothing changed; drains take the same lock, so none can slip
                                     usage behind a close
2. billing is found not stopped      nothing changed
3. records, remainders, marks and
   `closed_through`, one transaction all of it or nothing; the next close finds the same usage again
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync import records
from billing_sync.models import Instance
from billing_sync.packages import Balance
from billing_sync.room import Room, fit, room_for
from billing_sync.store import ledger, stops, waiting
from billing_sync.store import records as store
from billing_sync.store.engine import writing
from billing_sync.store.packages import naming_packages
from billing_sync.store.records import Recording, Unrecorded
from metering.catalogue import Catalogue, Product
from metering.windows import Window, window_of


class Made(NamedTuple):
    """What became of the unrecorded usage: records made, and (instance, window, meter) left over.

    Usage is left over while nobody can say what it costs (product not configured, or another meter
    than the product's), and while the second it would stand in is not over.
    """

    records: int
    left: int


def close(
    engine: Engine,
    partition: int,
    *,
    through_ms: int,
    catalogue: Catalogue,
    now_ms: int,
    newest_claim: str = "",
) -> Made | None:
    """Close every window of the partition that ends at or before `through_ms`; None if it was.

    None also while billing is stopped, as it is by this very call where the ledger turns out not
    to know the push log's newest claim.
    """
    with writing(engine) as session:
        row = ledger.partition(session, partition)
        if row.closed_through >= through_ms or not stops.may_bill(session, newest_claim, now_ms):
            return None
        row.closed_through = through_ms
        session.add(row)
        through = Window(window_of(through_ms) - 1)
        waiting.settle_partition(session, partition, catalogue, now_ms)
        unrecorded = store.unrecorded(session, partition=partition, through_window=through)
        return _Recording(session, catalogue, now_ms).record_all(unrecorded)


def cut(
    engine: Engine,
    partition: int,
    *,
    catalogue: Catalogue,
    now_ms: int,
    released_only: bool,
    newest_claim: str = "",
) -> Made:
    """Record what is unrecorded up to now, in the middle of a window; nothing as `close`."""
    with writing(engine) as session:
        ledger.partition(session, partition)
        if not stops.may_bill(session, newest_claim, now_ms):
            return Made(0, 0)
        waiting.settle_partition(session, partition, catalogue, now_ms)
        unrecorded = store.unrecorded(
            session,
            partition=partition,
            through_window=window_of(now_ms),
            released_only=released_only,
        )
        return _Recording(session, catalogue, now_ms).record_all(unrecorded)


@dataclass(frozen=True, slots=True)
class _Recording:
    """One transaction's worth of turning usage into records."""

    session: Session
    catalogue: Catalogue
    now_ms: int
    naming: dict[tuple[str, str], list[Balance]] = field(default_factory=dict)

    def record_all(self, waiting: Sequence[Unrecorded]) -> Made:
        made = left = 0
        for usage in waiting:
            instance = self.session.get_one(Instance, usage.instance_id)
            product = self.catalogue.get(instance.product_id)
            fitted = None
            if product is not None and _is_billed(product, usage):
                fitted = self._record(instance, product, usage)
            made += fitted or 0
            left += fitted is None
        return Made(made, left)

    def _record(self, instance: Instance, product: Product, usage: Unrecorded) -> int | None:
        """The records made of the usage; None when all of it has to wait."""
        room = room_for(instance, Window(usage.window), now_ms=self.now_ms)
        parts = self._parts(instance, product, usage, room)
        drafts = fit(parts, room, product.unit)
        if drafts is None:
            return None
        store.store(
            self.session, Recording(instance, usage, parts, drafts, product.unit, self.now_ms)
        )
        unfit = sum(p.quantity for p in parts if p.package_id not in drafts.remainders)
        store.put_in_bucket(self.session, usage, "unbillable", unfit)
        overshoot = usage.quantity - sum(part.quantity for part in parts)
        store.put_in_bucket(self.session, usage, "overshoot", overshoot)
        return len(drafts.records)

    def _parts(
        self, instance: Instance, product: Product, usage: Unrecorded, room: Room
    ) -> list[records.Part]:
        """Slices of stop-before-excess packages in their order, and what they do not cover."""
        naming = self._naming(instance, product)
        taken = store.slices(self.session, usage, [package.package_id for package in naming])
        named = [package for package in naming if package.package_id in taken]
        order = [package.package_id for package in named]
        # Before the first package was bought there was pay-per-use; after the last one there is.
        order.insert(0 if any(p.started > room.begin for p in named) else len(order), "")
        quantities = {**taken, "": usage.quantity - sum(taken.values())}
        return [
            records.Part(name, quantities[name], *store.remainder(self.session, instance.id, name))
            for name in order
            if quantities[name]
        ]

    def _naming(self, instance: Instance, product: Product) -> list[Balance]:
        key = (instance.customer_id, product.product_id)
        if key not in self.naming:
            self.naming[key] = naming_packages(
                self.session, instance.customer_id, product, self.catalogue
            )
        return self.naming[key]


def _is_billed(product: Product, usage: Unrecorded) -> bool:
    """Only the product's own meter is, and only where the merchant is the one who charges."""
    return product.meter == usage.meter and product.charged_by == "merchant"
