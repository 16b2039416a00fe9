"""Takes corrections: adjustments of what an instance is billed, and suspense that is assigned to one.

The order, and what a crash after each step leaves behind:

1. the partition's row is locked, and  nothing changed; drains, closes and other corrections of the
   what is asked is judged             customer wait
2. rows are written, not committed     nothing changed
3. the entry stands in the push log,   the ledger lacks it and nobody was told it was done: asked again
   synced                              under its id it is done once; so it is by the next recovery
4. the transaction is committed        done; asked again under its id, nothing changes

The log comes before the commit, because what a record may carry must never be lost with a ledger that
is set back: `bring_back` finds it there. An entry that was never committed is something a person asked
for, and its id makes it one with his second try. Calls block; make them in a thread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from billing_sync import corrections, suspense
from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.correction_entries import Adjusted, Assigned, Correction, Piece
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.errors import CorrectionRefused
from billing_sync.models import Instance
from billing_sync.push_log import PushLog
from billing_sync.store import adjustments, alerts, ledger
from billing_sync.store import suspense as store
from billing_sync.store.engine import in_parts, writing
from billing_sync.store.suspense import MOST_PIECES, Wanted
from metering.catalogue import Catalogue, Product
from metering.clock import Clock
from metering.partitions import partition_of

T = TypeVar("T", Adjustment, Assignment)


@dataclass(frozen=True)
class Taken(Generic[T]):
    """The correction's row. `repeated`: it stood there already, and nothing was changed."""

    row: T
    repeated: bool


@dataclass(frozen=True)
class Corrector:
    """Takes corrections, beside any number of control planes.

    Both raise CorrectionRefused, SQLAlchemyError, and OSError when the push log cannot be written;
    then nothing was changed, or the same call is to be made again.
    """

    engine: Engine
    log: PushLog
    catalogue: Catalogue
    partitions: int
    clock: Clock
    alerts: AlertTerms = SILENT

    def adjust(self, asked: AdjustmentAsked) -> Taken[Adjustment]:
        """Add to what the instance is billed, or take from it."""
        corrections.check_adjustment(asked)
        with writing(self.engine) as session:
            instance = self._locked(session, asked.instance_id)
            known = session.get(Adjustment, asked.id)
            if known is not None:
                corrections.refuse_other(
                    asked.id, _differing(known, asked, self._product(instance))
                )
                return Taken(known, repeated=True)
            unrecorded = adjustments.has_unrecorded(session, asked.instance_id)
            product = corrections.adjustable(
                asked.instance_id, instance, self.catalogue, unrecorded=unrecorded
            )
            entry = _adjusted(asked, instance, product, self.clock.now_ms())
            row = adjustments.append(session, entry)
            corrections.check_carry(
                asked.instance_id, adjustments.carried(session, asked.instance_id)
            )
            self._enter(session, entry)
            return Taken(row, repeated=False)

    def assign(self, asked: AssignmentAsked) -> Taken[Assignment]:
        """Charge suspense to an instance."""
        corrections.check_assignment(asked)
        now_ms, number = self.clock.now_ms(), partition_of(asked.customer_id, self.partitions)
        with writing(self.engine) as session:
            ledger.partition(session, number)
            known = session.get(Assignment, asked.id)
            if known is not None:
                corrections.refuse_other(asked.id, _other_assignment(known, asked))
                return Taken(known, repeated=True)
            instance = session.get(Instance, asked.instance_id)
            product = corrections.assignable(asked, instance, self.catalogue)
            entry = _assigned(asked, product, _pieces(session, asked, product), now_ms)
            row = store.append(session, entry, number, self.catalogue, now_ms)
            alerts.raise_passed(session, self.catalogue, self.alerts, now_ms)
            self._enter(session, entry)
            return Taken(row, repeated=False)

    def _locked(self, session: Session, instance_id: str) -> Instance | None:
        """The instance as it is once its partition is locked."""
        owner = session.exec(select(Instance.customer_id).where(Instance.id == instance_id)).first()
        if owner is None:
            return None
        ledger.partition(session, partition_of(owner, self.partitions))
        return session.get(Instance, instance_id)

    def _product(self, instance: Instance | None) -> Product | None:
        return self.catalogue.get(instance.product_id) if instance is not None else None

    def _enter(self, session: Session, entry: Correction) -> None:
        """Steps 2 and 3: what the database refuses never gets into the log."""
        try:
            session.flush()
        except IntegrityError:
            raise CorrectionRefused(
                f"another correction came in under id {entry.id} at this moment; ask again"
            ) from None
        self.log.append(entry, durable=True)


def lacking(session: Session, entries: Iterable[Correction]) -> list[Correction]:
    """Those that the ledger does not have, each once, in their order."""
    wanted = {(type(entry), entry.id): entry for entry in entries}
    known: set[tuple[type[Correction], str]] = set()
    tables: tuple[tuple[type[Correction], Any], ...] = (
        (Adjusted, Adjustment),
        (Assigned, Assignment),
    )
    for kind, table in tables:
        for some in in_parts([entry.id for entry in wanted.values() if type(entry) is kind]):
            found = session.exec(select(table.id).where(col(table.id).in_(some)))
            known.update((kind, each) for each in found)
    return [entry for place, entry in wanted.items() if place not in known]


def bring_back(
    session: Session, entries: Sequence[Correction], catalogue: Catalogue, now_ms: int
) -> int:
    """Put back what `lacking` found, as it was; how many. Every partition is locked by the caller.

    It comes before the records, some of which carry it.
    """
    partitions = len(ledger.places(session))
    for entry in entries:
        if isinstance(entry, Adjusted):
            adjustments.append(session, entry)
        else:
            number = partition_of(entry.customer_id, partitions)
            store.append(session, entry, number, catalogue, now_ms)
    session.flush()
    return len(entries)


def _adjusted(
    asked: AdjustmentAsked, instance: Instance | None, product: Product, now_ms: int
) -> Adjusted:
    return Adjusted(
        id=asked.id,
        at=now_ms,
        instance_id=asked.instance_id,
        customer_id=instance.customer_id if instance else "",
        meter=product.meter or "",
        quantity=corrections.meter_units(asked, product),
        author=asked.author,
        reason=asked.reason,
    )


def _assigned(
    asked: AssignmentAsked, product: Product, pieces: Iterable[Piece], now_ms: int
) -> Assigned:
    return Assigned(
        id=asked.id,
        at=now_ms,
        customer_id=asked.customer_id,
        instance_id=asked.instance_id,
        meter=product.meter or "",
        author=asked.author,
        reason=asked.reason,
        pieces=tuple(pieces),
    )


def _pieces(session: Session, asked: AssignmentAsked, product: Product) -> list[Piece]:
    """The oldest suspense first, and never more than there is."""
    product_id = asked.product_id or product.product_id
    wanted = Wanted(asked.customer_id, product_id, asked.first, asked.end)
    rows = store.assignable(session, wanted, product)
    there = [row.quantity - row.assigned for row in rows]
    what = f"suspense of customer {asked.customer_id} for product {product_id}"
    if not rows:
        raise CorrectionRefused(
            f"there is no {what} in these hours that instance {asked.instance_id} can be charged for"
        )
    if asked.quantity is None and len(rows) == MOST_PIECES:
        raise CorrectionRefused(
            f"there are too many hours of {what} for one assignment; take some with --from and --to"
        )
    quantity = sum(there) if asked.quantity is None else asked.quantity
    if quantity > sum(there):
        raise CorrectionRefused(f"there are only {sum(there)} {product.meter} of {what} there")
    return [
        Piece(row.product_id, row.route, row.grade, row.origin, part)
        for row, part in zip(rows, suspense.take(there, quantity), strict=True)
        if part
    ]


def _differing(known: Adjustment, asked: AdjustmentAsked, product: Product | None) -> list[str]:
    """What a repeat says otherwise than the row; its value is compared in meter units."""
    quantity = asked.quantity
    if quantity is None and product is not None:
        quantity = corrections.meter_units(asked, product)
    pairs = (
        ("instance", known.instance_id, asked.instance_id),
        ("quantity", known.quantity, quantity),
        ("author", known.author, asked.author),
        ("reason", known.reason, asked.reason),
    )
    return [name for name, one, other in pairs if one != other]


def _other_assignment(known: Assignment, asked: AssignmentAsked) -> list[str]:
    pairs = (
        ("customer", known.customer_id, asked.customer_id),
        ("instance", known.instance_id, asked.instance_id),
        ("quantity", known.quantity, asked.quantity or known.quantity),
    )
    return [name for name, one, other in pairs if one != other]
