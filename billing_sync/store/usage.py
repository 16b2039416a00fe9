"""The SQL of usage questions: per customer, instance, meter and window, over the ledger alone."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from billing_sync.models import Bucket, CustomerRow, Instance, UsageRecord, UsageWindow
from billing_sync.questions import Cell, UsageFilter
from billing_sync.states import UNPUSHED


def cells(session: Session, wanted: UsageFilter, limit: int) -> dict[Cell, int]:
    """The matching usage by cell, at most so many of them."""
    kept = [_columns()[name] for name in ("window", "customer", "instance") if name in wanted.grain]
    keys = [*kept, col(UsageWindow.meter)]
    query: Any = select(*keys, func.sum(UsageWindow.quantity))  # type: ignore[call-overload]
    query = query.where(*_conditions(wanted)).group_by(*keys).limit(limit)
    found: dict[Cell, int] = {}
    for row in session.exec(query):
        values = iter(row)
        window = next(values) if "window" in wanted.grain else 0
        customer = next(values) if "customer" in wanted.grain else ""
        instance = next(values) if "instance" in wanted.grain else ""
        meter, quantity = values
        found[Cell(window, customer, instance, meter)] = int(quantity)
    return found


def _columns() -> dict[str, Any]:
    return {
        "window": col(UsageWindow.window),
        "customer": col(UsageWindow.customer_id),
        "instance": col(UsageWindow.instance_id),
    }


def _conditions(wanted: UsageFilter) -> list[ColumnElement[bool]]:
    pairs = (
        (col(UsageWindow.customer_id), wanted.customer_id),
        (col(UsageWindow.instance_id), wanted.only_instance),
        (col(UsageWindow.meter), wanted.meter),
    )
    conditions = [column == value for column, value in pairs if value is not None]
    if wanted.from_window is not None:
        conditions.append(col(UsageWindow.window) >= wanted.from_window)
    if wanted.to_window is not None:
        conditions.append(col(UsageWindow.window) < wanted.to_window)
    return conditions


def lifetimes(session: Session, instance_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """Everything an instance ever used, by (instance, meter)."""
    query = (
        select(UsageWindow.instance_id, UsageWindow.meter, func.sum(UsageWindow.quantity))
        .where(col(UsageWindow.instance_id).in_(instance_ids))
        .group_by(col(UsageWindow.instance_id), col(UsageWindow.meter))
    )
    return {(instance, meter): int(total) for instance, meter, total in session.exec(query)}


def customer_ids(session: Session) -> list[str]:
    """Every customer there is."""
    return list(session.exec(select(CustomerRow.id).order_by(col(CustomerRow.id))))


def instances(session: Session, ids: Sequence[str]) -> dict[str, Instance]:
    """The instances by id."""
    rows = session.exec(select(Instance).where(col(Instance.id).in_(ids)))
    return {row.id: row for row in rows}


def metered_of(session: Session, customer_ids: Sequence[str]) -> list[Instance]:
    """The pay-per-use instances of some customers, oldest first."""
    query = (
        select(Instance)
        .where(col(Instance.customer_id).in_(customer_ids), col(Instance.is_package).is_(False))
        .order_by(col(Instance.started), col(Instance.id))
    )
    return list(session.exec(query))


def buckets(session: Session) -> dict[str, int]:
    """What stands in each bucket, in meter units, over all instances."""
    query = select(Bucket.name, func.sum(Bucket.quantity)).group_by(Bucket.name)
    return {name: int(total) for name, total in session.exec(query)}


def unpushed(session: Session) -> tuple[int, int]:
    """How many records wait to be pushed, and the earliest interval end among them (0 without)."""
    waiting = col(UsageRecord.state).in_(UNPUSHED)
    count, oldest = session.exec(
        select(func.count(), func.min(UsageRecord.end)).where(waiting)
    ).one()
    return int(count), int(oldest or 0)
