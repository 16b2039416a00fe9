"""The SQL of alerts: raised with the deduction that passes a threshold, then sent, given up, listed.

An alert stands in the transaction of that deduction: both are there or neither is. Every statement
about a delivery names the lease or the state it may change, so whoever comes too late changes
nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, func, update
from sqlmodel import Session, SQLModel, and_, col, or_, select

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.alerts import AlertTerms, Bought, DeliveryState, Passed, Use, alerts_of
from billing_sync.asking import Page
from billing_sync.errors import BadQuestion
from billing_sync.models import Instance
from billing_sync.packages import OVERSHOOT, WAITING
from billing_sync.store import package_totals
from billing_sync.store.engine import in_parts, inserting
from billing_sync.store.packages import covered
from metering.catalogue import Catalogue

_NO_PACKAGES: Final = frozenset({OVERSHOOT, WAITING})

_TOLD: Final = ("webhook", "state", "attempts", "next_attempt", "sent_at", "error")


class Due(NamedTuple):
    """A delivery that was claimed until `lease_ms`, and what it tells."""

    alert: Passed
    webhook: str
    attempts: int
    lease_ms: int


class Standing(NamedTuple):
    """Alerts raised by threshold, deliveries by state, and when the oldest unsent alert was raised
    (UTC ms, 0 when all are sent or given up)."""

    raised: dict[int, int]
    deliveries: dict[str, int]
    oldest: int


def raise_passed(session: Session, catalogue: Catalogue, terms: AlertTerms, now_ms: int) -> int:
    """Raise what the packages passed that gave in this transaction, each threshold once; how many.

    Call it after the deductions. What was raised is never raised again, whatever is given back.
    """
    gave = package_totals.gave(session) - _NO_PACKAGES
    if not gave or not terms.thresholds:
        return 0
    found = _passed(session, sorted(gave), catalogue, terms, now_ms)
    known = _known(session, [alert.id for alert in found])
    new = [alert for alert in found if alert.id not in known]
    _insert(session, [Alert(**alert._asdict()) for alert in new])
    _insert(
        session,
        [
            AlertDelivery(alert_id=alert.id, webhook=webhook, next_attempt=now_ms)
            for alert in new
            for webhook in terms.webhooks
        ],
    )
    return len(new)


def _passed(
    session: Session, ids: Sequence[str], catalogue: Catalogue, terms: AlertTerms, now_ms: int
) -> list[Passed]:
    given = package_totals.by_item(session, ids)
    found: list[Passed] = []
    for some in in_parts(ids):
        for row in session.exec(select(Instance).where(col(Instance.id).in_(some))):
            uses = [
                Use(item, full.left, given.get((row.id, item), 0), catalogue[item].unit)
                for item, full in covered(row, catalogue)
            ]
            bought = Bought(row.id, row.customer_id, row.product_id, row.expires)
            found += alerts_of(bought, uses, terms.thresholds, now_ms)
    return found


def _known(session: Session, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for some in in_parts(ids):
        known.update(session.exec(select(Alert.id).where(col(Alert.id).in_(some))))
    return known


def _insert(session: Session, rows: Sequence[SQLModel]) -> None:
    """An alert never keeps usage out of the ledger, so one that is there already is no failure."""
    if rows:
        statement = inserting(session, type(rows[0])).on_conflict_do_nothing()
        session.execute(statement, [row.model_dump() for row in rows])


# --- sending -------------------------------------------------------------------------------


def is_due(session: Session, webhook: str, now_ms: int) -> bool:
    """Whether something waits to be sent there. Locks nothing."""
    query = select(AlertDelivery.alert_id).where(*_due(webhook, now_ms)).limit(1)
    return session.exec(query).first() is not None


def claim(session: Session, webhook: str, *, now_ms: int, until_ms: int) -> Due | None:
    """The next alert to send there; nobody else takes it before `until_ms`.

    What was tried least comes first, of that the oldest: one that always fails holds no other up.
    """
    query = (
        select(AlertDelivery, Alert)
        .join(Alert, col(Alert.id) == AlertDelivery.alert_id)
        .where(*_due(webhook, now_ms))
        .order_by(col(AlertDelivery.attempts), col(Alert.at), col(Alert.threshold), col(Alert.id))
        .limit(1)
        .with_for_update(skip_locked=True, of=AlertDelivery)
    )
    found = session.exec(query).first()
    if found is None:
        return None
    delivery, alert = found
    delivery.attempts += 1
    delivery.next_attempt = until_ms
    session.add(delivery)
    return Due(_facts(alert), webhook, delivery.attempts, until_ms)


def _facts(alert: Alert) -> Passed:
    return Passed(**alert.model_dump())


def settle(session: Session, due: Due, **columns: object) -> bool:
    """Write what became of an attempt; False when somebody else has claimed the delivery since."""
    settled = session.execute(
        update(AlertDelivery)
        .where(
            col(AlertDelivery.alert_id) == due.alert.id,
            col(AlertDelivery.webhook) == due.webhook,
            col(AlertDelivery.state) == DeliveryState.PENDING,
            col(AlertDelivery.next_attempt) == due.lease_ms,
        )
        .values(**columns)
    )
    return bool(settled.rowcount)  # type: ignore[attr-defined]


def abandon(session: Session, configured: Collection[str], *, before_ms: int) -> int:
    """Give up what was due before that at webhooks that are configured no more; how many.

    Not at once: another control plane may have been started with a newer configuration.
    """
    given_up = session.execute(
        update(AlertDelivery)
        .where(*_orphaned(configured, before_ms))
        .values(state=DeliveryState.GIVEN_UP, error="this webhook is not configured any more")
    )
    return int(given_up.rowcount)  # type: ignore[attr-defined]


def has_orphans(session: Session, configured: Collection[str], *, before_ms: int) -> bool:
    """Whether `abandon` would find anything. Locks nothing."""
    query = select(AlertDelivery.alert_id).where(*_orphaned(configured, before_ms)).limit(1)
    return session.exec(query).first() is not None


def retry(session: Session, alert_id: str | None, now_ms: int) -> int:
    """Send again what was not delivered of the alert, or whatever was given up where it is None, as
    if it had never been tried; how many deliveries."""
    states = [DeliveryState.GIVEN_UP] + ([DeliveryState.PENDING] if alert_id else [])
    where: list[ColumnElement[bool]] = [col(AlertDelivery.state).in_(states)]
    if alert_id is not None:
        where.append(col(AlertDelivery.alert_id) == alert_id)
    again = session.execute(
        update(AlertDelivery)
        .where(*where)
        .values(state=DeliveryState.PENDING, attempts=0, next_attempt=now_ms)
    )
    return int(again.rowcount)  # type: ignore[attr-defined]


def _due(webhook: str, now_ms: int) -> list[ColumnElement[bool]]:
    return [
        col(AlertDelivery.webhook) == webhook,
        col(AlertDelivery.state) == DeliveryState.PENDING,
        col(AlertDelivery.next_attempt) <= now_ms,
    ]


def _orphaned(configured: Collection[str], before_ms: int) -> list[ColumnElement[bool]]:
    return [
        col(AlertDelivery.webhook).not_in(configured),
        col(AlertDelivery.state) == DeliveryState.PENDING,
        col(AlertDelivery.next_attempt) < before_ms,
    ]


# --- looking -------------------------------------------------------------------------------


def listed(session: Session, page: Page) -> list[dict[str, Any]]:
    """Alerts in the order in which they were raised, each with its `deliveries`.

    Raises BadQuestion. `page.state` asks for those with a delivery in this state, `page.instance_id` for a package's.
    """
    query = select(Alert).where(*_wanted(session, page)).order_by(col(Alert.at), col(Alert.id))
    alerts = list(session.exec(query.limit(page.limit)))
    deliveries = _deliveries(session, [alert.id for alert in alerts])
    return [
        _facts(alert)._asdict() | {"deliveries": deliveries.get(alert.id, [])} for alert in alerts
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
