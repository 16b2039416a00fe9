"""The SQL of lists that are shown page by page: instances and usage records."""

from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import and_, or_
from sqlmodel import Session, col, select

from billing_sync.asking import Page
from billing_sync.errors import BadQuestion
from billing_sync.models import Carry, Instance, UsageRecord


class Listed(NamedTuple):
    """An instance and its remainders."""

    instance: Instance
    remainders: list[Carry]

    def model_dump(self) -> dict[str, Any]:
        """As it is shown. `quantity` is in meter units, `waiting` of them stand in no record yet."""
        shown = [
            {
                "package_id": row.package_id,
                "quantity": str(Decimal(row.quantity).scaleb(-4)),
                "waiting": row.waiting,
            }
            for row in self.remainders
        ]
        return self.instance.model_dump() | {"remainders": shown}


def instances(session: Session, page: Page) -> list[Listed]:
    """Instances in the order of their ids, with what is carried to their next records."""
    query = select(Instance).order_by(col(Instance.id)).limit(page.limit)
    if page.after is not None:
        query = query.where(col(Instance.id) > page.after)
    if page.instance_id is not None:
        query = query.where(col(Instance.id) == page.instance_id)
    found = list(session.exec(_of_customer(query, Instance, page)))
    carries: dict[str, list[Carry]] = {}
    wanted = select(Carry).where(col(Carry.instance_id).in_([row.id for row in found]))
    for carry in session.exec(wanted.order_by(col(Carry.package_id))):
        carries.setdefault(carry.instance_id, []).append(carry)
    return [Listed(row, carries.get(row.id, [])) for row in found]


def records(session: Session, page: Page) -> list[UsageRecord]:
    """Usage records, oldest interval first. Raises BadQuestion for an unknown `after`."""
    query = select(UsageRecord).order_by(col(UsageRecord.begin), col(UsageRecord.metering_sn))
    if page.after is not None:
        last = session.get(UsageRecord, page.after)
        if last is None:
            raise BadQuestion("after is no metering_sn; take `next` of the page before")
        later = and_(
            col(UsageRecord.begin) == last.begin, col(UsageRecord.metering_sn) > last.metering_sn
        )
        query = query.where(or_(col(UsageRecord.begin) > last.begin, later))
    if page.instance_id is not None:
        query = query.where(col(UsageRecord.instance_id) == page.instance_id)
    if page.state is not None:
        query = query.where(col(UsageRecord.state) == page.state)
    return list(session.exec(_of_customer(query.limit(page.limit), UsageRecord, page)))


def _of_customer(query: Any, table: type[Instance] | type[UsageRecord], page: Page) -> Any:
    if page.customer_id is None:
        return query
    return query.where(col(table.customer_id) == page.customer_id)
