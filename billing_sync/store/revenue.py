"""The SQL behind `whatif`: usage records instance by instance, customer by customer."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import tuple_
from sqlmodel import Session, col, select

from billing_sync.models import Instance, UsageRecord

AT_ONCE: Final = 100  # instances
_ROWS: Final = 1000  # fetched together


class Buyer(NamedTuple):
    """An instance and whose it is."""

    customer_id: str
    instance_id: str


class Sold(NamedTuple):
    """One usage record: `value` billing units of `unit` each, as decimal text."""

    instance_id: str
    product_id: str
    begin: int
    value: str
    unit: int
    package_id: str


def buyers(
    session: Session, after: Buyer, customer_id: str | None, limit: int = AT_ONCE
) -> list[Buyer]:
    """The next pay-per-use instances behind `after`, by customer."""
    keys = (col(Instance.customer_id), col(Instance.id))
    query = (
        select(Instance.customer_id, Instance.id)
        .where(tuple_(*keys) > tuple_(*after), col(Instance.is_package).is_(False))
        .order_by(*keys)
        .limit(limit)
    )
    if customer_id is not None:
        query = query.where(Instance.customer_id == customer_id)
    return [Buyer(*row) for row in session.exec(query)]


def sold(
    session: Session, instance_ids: Sequence[str], *, from_ms: int, to_ms: int
) -> Iterator[Sold]:
    """The records of the instances that begin in [from_ms, to_ms), each instance's in their order."""
    query: Any = select(  # type: ignore[call-overload]
        UsageRecord.instance_id,
        UsageRecord.product_id,
        UsageRecord.begin,
        UsageRecord.value,
        UsageRecord.unit,
        UsageRecord.relate_pkg_instance,
    )
    query = query.where(
        col(UsageRecord.instance_id).in_(instance_ids),
        UsageRecord.begin >= from_ms,
        UsageRecord.begin < to_ms,
    ).order_by(col(UsageRecord.instance_id), col(UsageRecord.begin), col(UsageRecord.end))
    for row in session.exec(query.execution_options(yield_per=_ROWS)):
        yield Sold(*row)
