"""The SQL of suspense: usage that matched no instance, and what was assigned of it later."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync import suspense
from billing_sync.booking import UsageRow
from billing_sync.correction_entries import Assigned
from billing_sync.correction_models import Assignment, Suspense
from billing_sync.models import Instance
from billing_sync.store import ahead, ledger
from billing_sync.store.engine import add_up, in_parts
from billing_sync.store.packages import deduct_booked
from billing_sync.suspense import ASSIGNED, Holding
from metering.catalogue import Catalogue, Product
from metering.entitlement import InstanceStatus
from metering.windows import window_of

MOST_PIECES: Final = 10_000  # of one assignment: its row and its line in the push log hold them all


class Wanted(NamedTuple):
    """Which suspense a question is about; None asks for everything. Windows are [first, end)."""

    customer_id: str | None = None
    product_id: str | None = None
    first: int | None = None
    end: int | None = None


class Listed(NamedTuple):
    """Suspense of a customer by product, route and meter over the hours `first` to `last`, both
    included; `open` is what nobody has assigned."""

    customer_id: str
    product_id: str
    route: str
    meter: str
    first: int
    last: int
    quantity: int
    assigned: int

    @property
    def open(self) -> int:
        return max(self.quantity - self.assigned, 0)


def put(session: Session, rows: Sequence[UsageRow], catalogue: Catalogue) -> None:
    """Book what of a drain's usage matched no instance."""
    sells = suspense.sold(catalogue.values(), rows)
    holdings = _holdings(session, suspense.undecided(rows, sells))
    found = suspense.unmatched(rows, sells, holdings)
    add_up(session, Suspense, [{**one._asdict(), "assigned": 0} for one in found], "quantity")


def _holdings(session: Session, customer_ids: Iterable[str]) -> dict[str, Holding]:
    holdings = {}
    for some in in_parts(sorted(customer_ids)):
        bought: dict[str, list[Instance]] = {}
        for row in session.exec(select(Instance).where(col(Instance.customer_id).in_(some))):
            bought.setdefault(row.customer_id, []).append(row)
        for customer_id, mine in bought.items():
            holdings[customer_id] = Holding(
                frozenset(i.product_id for i in mine if i.status != InstanceStatus.RELEASED),
                {i.id: i.product_id for i in mine},
            )
    return holdings


def assignable(
    session: Session, wanted: Wanted, instance_of: Product, most: int = MOST_PIECES
) -> list[Suspense]:
    """What can be charged to an instance of the product, oldest hour first, at most so many rows.

    Usage of another product that is sold by the same meter on the same route counts too.
    """
    query = (
        select(Suspense)
        .where(
            Suspense.meter == instance_of.meter,
            col(Suspense.route).in_(instance_of.routes),
            Suspense.quantity > Suspense.assigned,
            *_conditions(wanted),
        )
        .order_by(col(Suspense.origin), col(Suspense.route), col(Suspense.grade))
        .limit(most)
    )
    return list(session.exec(query))


def append(
    session: Session, entry: Assigned, number: int, catalogue: Catalogue, now_ms: int
) -> Assignment:
    """Charge the pieces to the instance in the window that is open now, and remember it.

    The partition with this number is locked by the caller. From here on it is usage as any other:
    packages give to it, and where a record that came back in a recovery carries it already, it is
    not recorded again.
    """
    closed = ledger.looked_back_to(ledger.partition(session, number))
    window = max(window_of(now_ms), window_of(closed))
    usage = [
        UsageRow(
            window,
            entry.customer_id,
            entry.instance_id,
            piece.route,
            entry.meter,
            piece.grade,
            ASSIGNED,
            piece.origin,
            piece.quantity,
        )
        for piece in entry.pieces
    ]
    booked = ahead.take(session, usage)
    ledger.add_usage(session, number, booked)
    deduct_booked(session, booked, catalogue, now_ms)
    add_up(session, Suspense, [_taken(entry, at) for at in range(len(entry.pieces))], "assigned")
    pieces = [[p.product_id, p.route, p.grade, p.origin, p.quantity] for p in entry.pieces]
    row = Assignment(
        id=entry.id,
        customer_id=entry.customer_id,
        instance_id=entry.instance_id,
        meter=entry.meter,
        window=window,
        quantity=entry.quantity,
        parts=json.dumps(pieces, ensure_ascii=False, separators=(",", ":")),
        author=entry.author,
        reason=entry.reason,
        at=entry.at,
    )
    session.add(row)
    return row


def _taken(entry: Assigned, at: int) -> dict[str, Any]:
    piece = entry.pieces[at]
    return {
        "customer_id": entry.customer_id,
        "product_id": piece.product_id,
        "route": piece.route,
        "meter": entry.meter,
        "grade": piece.grade,
        "origin": piece.origin,
        "quantity": 0,
        "assigned": piece.quantity,
    }


def listed(
    session: Session, wanted: Wanted, *, by_hour: bool = False, skip: int = 0, limit: int
) -> list[Listed]:
    """Suspense by customer, product, route and meter, and by hour if that is asked."""
    keys: list[Any] = [
        col(Suspense.customer_id),
        col(Suspense.product_id),
        col(Suspense.route),
        col(Suspense.meter),
    ]
    hours = [col(Suspense.origin)] if by_hour else []
    query: Any = select(  # type: ignore[call-overload]
        *keys,
        func.min(Suspense.origin),
        func.max(Suspense.origin),
        func.sum(Suspense.quantity),
        func.sum(Suspense.assigned),
    )
    query = query.where(*_conditions(wanted)).group_by(*keys, *hours).order_by(*keys, *hours)
    return [
        Listed(*row[:4], *map(int, row[4:]))
        for row in session.exec(query.offset(skip).limit(limit))
    ]


def open_by_product(session: Session) -> dict[str, int]:
    """What nobody has assigned, in meter units, over all customers."""
    query = select(Suspense.product_id, func.sum(Suspense.quantity - Suspense.assigned))
    return {
        product_id: max(int(quantity), 0)
        for product_id, quantity in session.exec(query.group_by(Suspense.product_id))
    }


def _conditions(wanted: Wanted) -> list[Any]:
    pairs = (
        (col(Suspense.customer_id), wanted.customer_id),
        (col(Suspense.product_id), wanted.product_id),
    )
    conditions: list[Any] = [column == value for column, value in pairs if value is not None]
    if wanted.first is not None:
        conditions.append(col(Suspense.origin) >= wanted.first)
    if wanted.end is not None:
        conditions.append(col(Suspense.origin) < wanted.end)
    return conditions
