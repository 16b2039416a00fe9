"""The SQL of lists that a person reads: the newest first, a bounded page, and where the next begins.

A page continues behind a place, `<time>:<id>`, which is what the page before it ended with.
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import Session, SQLModel, col, select

from billing_sync.act_models import RecordAct
from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.errors import BadQuestion
from billing_sync.finding_models import FindingRow
from billing_sync.models import CustomerRow, Epoch, Instance, LifecycleInbox, UsageRecord

PAGE: Final = 50
_MOST_OF_ONE: Final = 200

Row = TypeVar("Row", bound=SQLModel)


class Listed(NamedTuple, Generic[Row]):
    """Some rows, and the place behind them; None at the end."""

    rows: Sequence[Row]
    next: str | None


def records(
    session: Session, after: str | None, *, state: str | None, instance_id: str | None
) -> Listed[UsageRecord]:
    """Usage records by the time they were made. Raises BadQuestion."""
    where = []
    if state is not None:
        where.append(col(UsageRecord.state) == state)
    if instance_id is not None:
        where.append(col(UsageRecord.instance_id) == instance_id)
    order = (col(UsageRecord.recorded_at), col(UsageRecord.metering_sn))
    return _page(session, UsageRecord, order, where, after)


def adjustments(session: Session, after: str | None) -> Listed[Adjustment]:
    """Raises BadQuestion."""
    return _page(session, Adjustment, (col(Adjustment.at), col(Adjustment.id)), (), after)


def assignments(session: Session, after: str | None) -> Listed[Assignment]:
    """Raises BadQuestion."""
    return _page(session, Assignment, (col(Assignment.at), col(Assignment.id)), (), after)


def alerts(session: Session, after: str | None) -> Listed[Alert]:
    """Raises BadQuestion."""
    return _page(session, Alert, (col(Alert.at), col(Alert.id)), (), after)


def findings(session: Session, after: str | None) -> Listed[FindingRow]:
    """Raises BadQuestion."""
    return _page(session, FindingRow, (col(FindingRow.at), col(FindingRow.id)), (), after)


def acts(session: Session, most: int) -> Sequence[RecordAct]:
    """What was decided about records last."""
    query = select(RecordAct).order_by(col(RecordAct.at).desc(), col(RecordAct.id).desc())
    return session.exec(query.limit(most)).all()


def resets(session: Session, first: str, most: int) -> Sequence[Epoch]:
    """The last times a partition began anew; `first` is the reason of first starts, left out."""
    query = select(Epoch).where(Epoch.reason != first).order_by(col(Epoch.at).desc())
    return session.exec(query.limit(most)).all()


def instances(
    session: Session, after: str | None, customer_id: str | None = None, *, packages: bool
) -> Listed[Instance]:
    """Instances or packages by their start. Raises BadQuestion."""
    where: list[ColumnElement[bool]] = [col(Instance.is_package).is_(packages)]
    if customer_id is not None:
        where.append(col(Instance.customer_id) == customer_id)
    order = (col(Instance.started), col(Instance.id))
    return _page(session, Instance, order, where, after)


def callbacks(session: Session, instance_id: str) -> Sequence[LifecycleInbox]:
    """What the marketplace said of an instance, the newest first."""
    query = select(LifecycleInbox).where(LifecycleInbox.instance_id == instance_id)
    order = (col(LifecycleInbox.sent_at).desc(), col(LifecycleInbox.id).desc())
    return session.exec(query.order_by(*order).limit(_MOST_OF_ONE)).all()


def customers(
    session: Session, after: str | None, wanted: str | None
) -> tuple[Sequence[CustomerRow], str | None]:
    """Customers by id; of those whose id or name holds `wanted`."""
    query = select(CustomerRow).order_by(col(CustomerRow.id)).limit(PAGE + 1)
    if after is not None:
        query = query.where(col(CustomerRow.id) > after)
    if wanted is not None:
        holds = [
            col(column).icontains(wanted, autoescape=True)
            for column in (CustomerRow.id, CustomerRow.name)
        ]
        query = query.where(or_(*holds))
    rows = session.exec(query).all()
    return rows[:PAGE], rows[PAGE - 1].id if len(rows) > PAGE else None


def standings(session: Session, customer_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many instances and packages each customer has, by status."""
    query: Any = select(Instance.customer_id, Instance.status, func.count())
    query = query.where(col(Instance.customer_id).in_(list(customer_ids)))
    found: dict[str, dict[str, int]] = {}
    for customer_id, status, count in session.exec(
        query.group_by(col(Instance.customer_id), col(Instance.status))
    ):
        found.setdefault(customer_id, {})[status] = int(count)
    return found


def deliveries(session: Session, alert_ids: Sequence[str]) -> dict[str, list[AlertDelivery]]:
    """What became of telling these alerts."""
    found: dict[str, list[AlertDelivery]] = {}
    query = select(AlertDelivery).where(col(AlertDelivery.alert_id).in_(list(alert_ids)))
    for row in session.exec(query.order_by(col(AlertDelivery.webhook))):
        found.setdefault(row.alert_id, []).append(row)
    return found


def _page(
    session: Session,
    table: type[Row],
    order: tuple[Any, Any],
    where: Sequence[ColumnElement[bool]],
    after: str | None,
) -> Listed[Row]:
    at, key = order
    query = select(table).where(*where).order_by(at.desc(), key.desc()).limit(PAGE + 1)
    if after is not None:
        time, last = _place(after, whole=key.type.python_type is int)
        query = query.where(or_(at < time, and_(at == time, key < last)))
    rows = session.exec(query).all()
    shown = rows[:PAGE]
    if len(rows) <= PAGE:
        return Listed(shown, None)
    end = shown[-1]
    return Listed(shown, f"{getattr(end, at.key)}:{getattr(end, key.key)}")


def _place(after: str, *, whole: bool) -> tuple[int, Any]:
    time, _, last = after.partition(":")
    plain = time.isascii() and time.isdigit() and len(time) < 19 and 0 < len(last) <= 128
    if not plain or (whole and not (last.isascii() and last.isdigit() and len(last) < 19)):
        raise BadQuestion("after is no place in this list; begin at the first page")
    return int(time), int(last) if whole else last
