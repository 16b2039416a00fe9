"""The tables of alerts: which package passed which threshold, and what became of telling it.

Rows of `alert` are made once and never changed; figures are billing units as decimal text. Times are
UTC milliseconds.
"""

from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

# Of an index: what is still to be sent is little, however long the history.
_PENDING: Any = dict.fromkeys(("sqlite_where", "postgresql_where"), text("state = 'pending'"))


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class Alert(SQLModel, table=True):
    """A package passed a threshold of its quota for a billing item. The figures are those of then."""

    __table_args__ = (
        UniqueConstraint("package_id", "item", "threshold"),
        Index("ix_alert_at", "at", "id"),
    )

    id: str = Field(primary_key=True)  # see alerts.alert_id; the webhook's id too
    package_id: str
    item: str
    threshold: int  # percent
    customer_id: str = Field(index=True)
    product_id: str  # the package's
    quota: str
    used: str
    remaining: str
    percent: str
    expires: int = _big(0)  # 0: never
    at: int = _big()


class AlertDelivery(SQLModel, table=True):
    """An alert on its way to one webhook: the outbox."""

    __tablename__ = "alert_delivery"  # type: ignore[mutable-override]  # SQLModel types it so
    __table_args__ = (Index("ix_alert_delivery_due", "webhook", "next_attempt", **_PENDING),)

    alert_id: str = Field(primary_key=True)
    webhook: str = Field(primary_key=True)  # WebhookSettings.name
    state: str = "pending"  # alerts.DeliveryState
    attempts: int = 0
    next_attempt: int = _big(0)  # while it is being sent, until when nobody else sends it
    sent_at: int = _big(0)
    error: str = ""  # of the last attempt
