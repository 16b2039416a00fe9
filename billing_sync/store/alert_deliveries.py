"""The SQL of alerts on their way to webhooks: claimed, settled, given up, sent again.

Every statement names the lease or the state it may change, so whoever comes too late changes nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, update
from sqlmodel import Session, col, select

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.alerts import DeliveryState, Passed
from billing_sync.store.engine import in_parts, inserting


class Due(NamedTuple):
    """A delivery that was claimed until `lease_ms`, and what it tells."""

    alert: Passed
    webhook: str
    attempts: int
    lease_ms: int


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
    return Due(Passed(**alert.model_dump()), webhook, delivery.attempts, until_ms)


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


def given_up(session: Session) -> list[str]:
    """The alerts that were given up for one webhook or several."""
    query = select(AlertDelivery.alert_id).where(AlertDelivery.state == DeliveryState.GIVEN_UP)
    return sorted(set(session.exec(query)))


def retry(
    session: Session, alert_ids: Sequence[str], configured: Collection[str], now_ms: int
) -> int:
    """Send these alerts to every webhook that is configured now and was not told, as if it had never
    been tried; how many deliveries. Webhooks that are configured no more are forgotten for it.
    """
    found = 0
    if not configured:
        return found
    for some in in_parts(alert_ids):
        mine = [
            col(AlertDelivery.alert_id).in_(some),
            col(AlertDelivery.state) != DeliveryState.SENT,
        ]
        session.execute(
            delete(AlertDelivery).where(*mine, col(AlertDelivery.webhook).not_in(configured))
        )
        add(session, some, configured, now_ms)
        again = {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": now_ms}
        reset = session.execute(update(AlertDelivery).where(*mine).values(**again))
        found += int(reset.rowcount)  # type: ignore[attr-defined]
    return found


def add(session: Session, alert_ids: Sequence[str], webhooks: Iterable[str], now_ms: int) -> None:
    """A delivery of each alert for each webhook, where there is none yet."""
    rows = [
        AlertDelivery(alert_id=alert_id, webhook=webhook, next_attempt=now_ms).model_dump()
        for alert_id in alert_ids
        for webhook in webhooks
    ]
    if rows:
        session.execute(inserting(session, AlertDelivery).on_conflict_do_nothing(), rows)


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
