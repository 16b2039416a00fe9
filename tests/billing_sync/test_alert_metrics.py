"""What Prometheus is told of alerts, as the control plane tells it."""

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.alert_sending import AlertSender
from tests.billing_sync.books import MINUTE, START
from tests.billing_sync.hooks import NOWHERE, selling
from tests.billing_sync.test_telemetry import samples, telemetry_of
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


async def test_what_was_raised_and_what_became_of_it(engine: Engine, redis: Redis) -> None:
    """By threshold, by state, and since when the oldest waits."""
    books = selling(engine, NOWHERE)
    books.use("i", 9_500)
    telemetry = telemetry_of(engine, redis)
    telemetry.clock = FakeClock(START + 11 * MINUTE)
    found = samples(telemetry)
    assert found["billing_sync_alerts{threshold=80}"] == 1
    assert found["billing_sync_alerts{threshold=95}"] == 1
    assert found["billing_sync_alert_deliveries{state=pending}"] == 2
    assert found["billing_sync_alert_deliveries{state=given_up}"] == 0
    assert found["billing_sync_alert_unsent_age_seconds"] == 60


async def test_what_this_process_did(engine: Engine, redis: Redis) -> None:
    """Attempts by webhook and result, named without its URL."""
    telemetry = telemetry_of(engine, redis)
    assert "billing_sync_alerts_given_up_total" not in samples(telemetry)  # it sends none
    async with httpx.AsyncClient() as http:
        sender = AlertSender(engine, http, [NOWHERE], telemetry.clock)
    sender.results[NOWHERE.name, "refused"] = 3
    sender.given_up = 2
    telemetry.runner.sender = sender
    found = samples(telemetry)
    assert found["billing_sync_alerts_given_up_total"] == 2
    labels = f"result=refused,webhook={NOWHERE.name}"
    assert found[f"billing_sync_alert_attempts_total{{{labels}}}"] == 3
    assert found["billing_sync_alert_unsent_age_seconds"] == 0
