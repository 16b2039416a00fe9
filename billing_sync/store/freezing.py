"""When instances were frozen, from their callbacks in the inbox."""

import json
from collections.abc import Sequence

from sqlmodel import Session, col, select

from billing_sync import packages
from billing_sync.errors import BadEvent
from billing_sync.koogallery.fields import utc_ms
from billing_sync.lifecycle import Activity, Event
from billing_sync.models import Instance, LifecycleInbox
from billing_sync.store.engine import in_parts
from billing_sync.transitions import Service, services
from metering.entitlement import InstanceStatus

_TELLING = (Activity.STATUS, Activity.EXPIRE, Activity.REFRESH)


def freezes_of(session: Session, rows: Sequence[Instance]) -> dict[str, tuple[packages.Span, ...]]:
    """The times in which each instance was frozen."""
    history: dict[str, list[tuple[int, Event, int]]] = {row.id: [] for row in rows}
    for some in in_parts(sorted(history)):
        query = select(LifecycleInbox).where(
            col(LifecycleInbox.instance_id).in_(some), col(LifecycleInbox.activity).in_(_TELLING)
        )
        for row in session.exec(query):
            history[row.instance_id].append(_told(row))
    return {
        row.id: packages.freezes(
            [(at, service is not Service.OPEN) for at, service in services(history[row.id])],
            is_frozen=row.status == InstanceStatus.FROZEN,
        )
        for row in rows
    }


def _told(row: LifecycleInbox) -> tuple[int, Event, int]:
    if row.activity == Activity.STATUS:
        return row.sent_at, Event(json.loads(row.identity)[2]), 0  # see lifecycle.identity
    if row.activity == Activity.EXPIRE:
        return row.sent_at, Event.EXPIRE, 0
    return row.sent_at, Event.REFRESH, _expiry(row.body)


def _expiry(body: str) -> int:
    """Of a refresh that was read and understood when it came."""
    try:
        return utc_ms("expireTime", str(json.loads(body).get("expireTime", "")))
    except (BadEvent, ValueError):
        return 0
