"""The SQL of adjustments: rows that are only appended, and the remainder they change with them."""

from collections.abc import Sequence

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from billing_sync.correction_entries import Adjusted
from billing_sync.correction_models import Adjustment
from billing_sync.models import Carry, UsageWindow
from billing_sync.records import SCALE
from billing_sync.store.engine import add_up


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


def listed(
    session: Session,
    *,
    customer_id: str | None = None,
    instance_id: str | None = None,
    after: Adjustment | None = None,
    limit: int,
) -> list[Adjustment]:
    """Adjustments in the order they were made, those behind `after`."""
    query = select(Adjustment).order_by(col(Adjustment.at), col(Adjustment.id)).limit(limit)
    if customer_id is not None:
        query = query.where(Adjustment.customer_id == customer_id)
    if instance_id is not None:
        query = query.where(Adjustment.instance_id == instance_id)
    if after is not None:
        later = (col(Adjustment.at) == after.at) & (col(Adjustment.id) > after.id)
        query = query.where(or_(col(Adjustment.at) > after.at, later))
    return list(session.exec(query))
