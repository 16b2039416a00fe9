"""Alerts under `kill -9`: between any two steps, the receiver learns of it, under one id."""

import httpx
import pytest
from sqlalchemy import Engine

from billing_sync.alert_sending import LEASE_MS
from tests.billing_sync.alerting_process import STEPS
from tests.billing_sync.books import MINUTE, START, Books
from tests.billing_sync.dying import killed_at
from tests.billing_sync.hooks import raised, receiver, sender_of, states, webhook
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """The SQL of it is tested on both kinds in store/test_alerts.py."""
    return "sqlite"


async def test_killed_before_the_commit(engine: Engine) -> None:
    """Neither the usage nor the alert is in the ledger: the next drain brings both."""
    with receiver() as server:
        killed_at("alerting_process", engine, "deducted", server.url)
    assert raised(engine) == []
    assert Books.given(Books(engine)) == {}


@pytest.mark.parametrize(
    ("step", "posts", "at_once"), [("raised", 0, 1), ("claimed", 0, 0), ("posted", 1, 0)]
)
async def test_killed_after(engine: Engine, step: str, posts: int, at_once: int) -> None:
    """The next process sends it, when the lease has ended; a repeat is the same word for word."""
    assert step in STEPS
    with receiver() as server:
        hook = webhook(server.url)
        killed_at("alerting_process", engine, step, server.url)
        assert len(server.requests) == posts
        assert states(engine) == {80: "pending"}
        now = FakeClock(START + 10 * MINUTE + LEASE_MS - 1)
        async with httpx.AsyncClient() as http:
            heir = sender_of(engine, http, now, hook)
            assert await heir.send_to(hook) == at_once
            now.advance(ms=1)
            assert await heir.send_to(hook) == 1 - at_once
    assert states(engine) == {80: "sent"}
    assert len(server.requests) == posts + 1
    assert len({request.header(b"webhook-id") for request in server.requests}) == 1
    assert len({request.body for request in server.requests}) == 1


async def test_killed_when_it_was_done(engine: Engine) -> None:
    """Nobody is told again."""
    with receiver() as server:
        hook = webhook(server.url)
        killed_at("alerting_process", engine, "settled", server.url)
        now = FakeClock(START + 10 * MINUTE + 2 * LEASE_MS)
        async with httpx.AsyncClient() as http:
            assert await sender_of(engine, http, now, hook).send_to(hook) == 0
    assert states(engine) == {80: "sent"}
    assert len(server.requests) == 1
