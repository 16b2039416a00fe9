"""The SQL of adjustments: rows that are only appended, and the remainder they change with them; and
how corrections are listed."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from billing_sync.asking import Page
from billing_sync.correction_entries import Adjusted
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.errors import BadQuestion
from billing_sync.models import Carry, UsageWindow
from billing_sync.records import SCALE
from billing_sync.store.engine import add_up

Correction = TypeVar("Correction", Adjustment, Assignment)


def append(session: Session, entry: Adjusted) -> Adjustment:
    """The row, and the instance's remainder with it: the next records net it."""
    row = Adjustment(**{name: getattr(entry, name) for name in entry.__struct_fields__})
    session.add(row)
    carry = {
        "instance_id": entry.instance_id,
        "package_id": "",
        "quantity": entry.quantity * SCALE,
        "waiting": 0,
        "origins": "[]",
    }
    add_up(session, Carry, [carry], "quantity")
    return row


def carried(session: Session, instance_id: str) -> int:
    """The remainder of the instance's records that name no package."""
    query = select(Carry.quantity).where(Carry.instance_id == instance_id, Carry.package_id == "")
    return session.exec(query).first() or 0


def has_unrecorded(session: Session, instance_id: str) -> bool:
    """Whether the instance has usage that no record carries yet."""
    query = select(UsageWindow.window).where(
        UsageWindow.instance_id == instance_id, UsageWindow.quantity > UsageWindow.recorded
    )
    return session.exec(query.limit(1)).first() is not None


def totals(session: Session, instance_ids: Sequence[str]) -> dict[str, int]:
    """The sum of each instance's adjustments, in meter units."""
    query = (
        select(Adjustment.instance_id, func.sum(Adjustment.quantity))
        .where(col(Adjustment.instance_id).in_(instance_ids))
        .group_by(Adjustment.instance_id)
    )
    return {instance_id: int(quantity) for instance_id, quantity in session.exec(query)}


def listed(session: Session, table: type[Correction], page: Page) -> list[Correction]:
    """Corrections in the order they were made. Raises BadQuestion for an unknown `after`."""
    query = select(table).order_by(col(table.at), col(table.id)).limit(page.limit)
    if page.customer_id is not None:
        query = query.where(table.customer_id == page.customer_id)
    if page.instance_id is not None:
        query = query.where(table.instance_id == page.instance_id)
    if page.after is not None:
        last = session.get(table, page.after)
        if last is None:
            raise BadQuestion("after is no id of these; take `next` of the page before")
        later = (col(table.at) == last.at) & (col(table.id) > last.id)
        query = query.where(or_(col(table.at) > last.at, later))
    return list(session.exec(query))
