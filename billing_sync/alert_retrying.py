"""Sends alerts again because a person says so: to every webhook that is configured and was not told."""

from collections.abc import Collection

from sqlalchemy import Engine

from billing_sync.alert_models import Alert
from billing_sync.errors import UnknownAlert, WrongState
from billing_sync.store import alert_deliveries as store
from billing_sync.store.engine import writing


def retry(engine: Engine, alert_id: str, webhooks: Collection[str], now_ms: int) -> int:
    """Send one alert again; to how many webhooks. Raises UnknownAlert, WrongState."""
    with writing(engine) as session:
        if not alert_id.isprintable() or session.get(Alert, alert_id) is None:
            raise UnknownAlert("there is no alert with this id")
        deliveries = store.retry(session, [alert_id], webhooks, now_ms)
    if not deliveries:
        raise WrongState("nothing to send: every webhook was told, or none is configured")
    return deliveries


def retry_given_up(engine: Engine, webhooks: Collection[str], now_ms: int) -> int:
    """Send again everything that was given up; how many deliveries."""
    with writing(engine) as session:
        return store.retry(session, store.given_up(session), webhooks, now_ms)
