"""Packages that passed thresholds in a ledger, a receiver of webhooks on a real socket, and senders."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from sqlalchemy import Engine
from sqlmodel import col, select

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.alert_sending import AlertSender
from billing_sync.alert_settings import WebhookSettings
from billing_sync.alerts import AlertTerms
from billing_sync.store.engine import reading
from metering.clock import Clock
from tests.billing_sync.books import Books
from tests.servers import Received, Upstream, upstream

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef" * 2).decode()


def webhook(url: str, *secrets: str) -> WebhookSettings:
    """A webhook there; `.invalid` hosts are never called."""
    return WebhookSettings.model_validate({"url": url, "secrets": list(secrets) or [SECRET]})


NOWHERE = webhook("http://nowhere.invalid/hook")
TERMS = AlertTerms((80, 95, 100), (NOWHERE.name,))


def selling(engine: Engine, *webhooks: WebhookSettings, thresholds: tuple[int, ...] = ()) -> Books:
    """Instance `i` with a package `pack` of 10,000 tokens, watched for these webhooks."""
    books = Books(engine)
    books.alerts = AlertTerms(thresholds or TERMS.thresholds, tuple(w.name for w in webhooks))
    books.buy("i")
    books.buy("pack", "PACK")
    return books


def raised(engine: Engine) -> list[tuple[str, str, int]]:
    """What was raised: package, used, threshold."""
    with reading(engine) as session:
        rows = session.exec(select(Alert).order_by(col(Alert.at), col(Alert.threshold)))
        return [(row.package_id, row.used, row.threshold) for row in rows]


def deliveries(engine: Engine) -> dict[int, AlertDelivery]:
    """By threshold, where there is one webhook and one package."""
    with reading(engine) as session:
        query = select(Alert.threshold, AlertDelivery).join(
            AlertDelivery, col(AlertDelivery.alert_id) == Alert.id
        )
        found = session.exec(query).all()
    assert len({threshold for threshold, _ in found}) == len(found)
    return dict(found)


def states(engine: Engine) -> dict[int, str]:
    """The state of each delivery by threshold."""
    return {threshold: row.state for threshold, row in sorted(deliveries(engine).items())}


def ok(request: Received) -> None:
    """Any 2xx will do."""
    request.reply(b"", status=b"204 No Content")


@contextmanager
def receiver(answer: Callable[[Received], None] = ok) -> Iterator[Upstream]:
    """A server that is posted to."""
    with upstream(answer) as server:
        yield server


def told(server: Upstream) -> list[int]:
    """The thresholds it was told, in the order in which they came."""
    return [json.loads(request.body)["data"]["threshold"] for request in server.requests]


def sender_of(
    engine: Engine, http: httpx.AsyncClient, clock: Clock, *webhooks: WebhookSettings, **given: Any
) -> AlertSender:
    """A control plane's sender."""
    return AlertSender(engine, http, webhooks, clock, **given)
