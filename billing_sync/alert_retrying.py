"""Sends alerts again because a person says so."""

from sqlalchemy import Engine

from billing_sync.alert_models import Alert
from billing_sync.errors import UnknownAlert, WrongState
from billing_sync.store import alert_deliveries as store
from billing_sync.store.engine import writing


def retry(engine: Engine, alert_id: str, now_ms: int) -> int:
    """Send the alert again wherever it was not delivered; to how many webhooks.

    Raises UnknownAlert, WrongState.
    """
    with writing(engine) as session:
        if not alert_id.isprintable() or session.get(Alert, alert_id) is None:
            raise UnknownAlert("there is no alert with this id")
        deliveries = store.retry(session, alert_id, now_ms)
    if not deliveries:
        raise WrongState("nothing to send again: it was delivered, or no webhook was configured")
    return deliveries


def retry_given_up(engine: Engine, now_ms: int) -> int:
    """Send again everything that was given up; how many deliveries."""
    with writing(engine) as session:
        return store.retry(session, None, now_ms)
