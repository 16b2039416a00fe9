"""The SQL of looking at alerts: a page of them with what became of telling it, and how they stand."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, and_, col, or_, select

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.alerts import DeliveryState, Passed
from billing_sync.asking import Page
from billing_sync.errors import BadQuestion
from billing_sync.store.engine import in_parts

_TOLD: Final = ("webhook", "state", "attempts", "next_attempt", "sent_at", "error")


class Standing(NamedTuple):
    """Alerts raised by threshold, deliveries by state, and when the oldest unsent alert was raised
    (UTC ms, 0 when all are sent or given up)."""

    raised: dict[int, int]
    deliveries: dict[str, int]
    oldest: int


def listed(session: Session, page: Page) -> list[dict[str, Any]]:
    """Alerts in the order in which they were raised, each with its `deliveries`.

    Raises BadQuestion. `page.state` asks for those with a delivery in this state, `page.instance_id` for a package's.
    """
    query = select(Alert).where(*_wanted(session, page)).order_by(col(Alert.at), col(Alert.id))
    alerts = list(session.exec(query.limit(page.limit)))
    deliveries = _deliveries(session, [alert.id for alert in alerts])
    return [
        Passed(**alert.model_dump())._asdict() | {"deliveries": deliveries.get(alert.id, [])}
        for alert in alerts
    ]


def _wanted(session: Session, page: Page) -> Iterable[ColumnElement[bool]]:
    if page.customer_id is not None:
        yield col(Alert.customer_id) == page.customer_id
    if page.instance_id is not None:
        yield col(Alert.package_id) == page.instance_id
    if page.state is not None:
        there = select(AlertDelivery.alert_id).where(AlertDelivery.state == page.state)
        yield col(Alert.id).in_(there)
    if page.after is not None:
        at = session.exec(select(Alert.at).where(Alert.id == page.after)).first()
        if at is None:
            raise BadQuestion("after is no alert; take `next` of the page before")
        behind = and_(col(Alert.at) == at, col(Alert.id) > page.after)
        yield or_(col(Alert.at) > at, behind)


def _deliveries(session: Session, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for some in in_parts(ids):
        query = select(AlertDelivery).where(col(AlertDelivery.alert_id).in_(some))
        for row in session.exec(query.order_by(col(AlertDelivery.webhook))):
            told = {name: getattr(row, name) for name in _TOLD}
            found.setdefault(row.alert_id, []).append(told)
    return found


def standing(session: Session) -> Standing:
    """How alerts stand, for metrics."""
    raised = session.exec(select(Alert.threshold, func.count()).group_by(col(Alert.threshold)))
    states = session.exec(
        select(AlertDelivery.state, func.count()).group_by(col(AlertDelivery.state))
    )
    oldest = (
        select(func.min(Alert.at))
        .join(AlertDelivery, col(AlertDelivery.alert_id) == Alert.id)
        .where(AlertDelivery.state == DeliveryState.PENDING)
    )
    return Standing(
        {threshold: int(count) for threshold, count in raised},
        {state: int(count) for state, count in states},
        session.exec(oldest).one() or 0,
    )
