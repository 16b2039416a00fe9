"""Alerts on their way to webhooks on real sockets: signed, once, again, and given up."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread
from anyio.abc import TaskGroup
from sqlalchemy import Engine, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from billing_sync.alert_models import AlertDelivery
from billing_sync.alert_sending import LEASE_MS, ORPHANED_MS, AlertSender
from billing_sync.alert_settings import WebhookSettings
from billing_sync.repeating import Repeater
from billing_sync.store import alert_deliveries as store
from billing_sync.store.alert_deliveries import Due
from billing_sync.store.engine import writing
from billing_sync.webhook_posting import BUDGET_S, Outcome
from billing_sync.webhooks import MOST_ATTEMPTS, WAITS_MS
from metering.clock import SystemClock
from tests.billing_sync.books import Books
from tests.billing_sync.hooks import (
    NOWHERE,
    SECRET,
    deliveries,
    ok,
    receiver,
    selling,
    sender_of,
    states,
    told,
    webhook,
)
from tests.servers import Received, eventually

pytestmark = pytest.mark.anyio

OTHER = "whsec_" + "B" * 32


@pytest.fixture
def database_kind() -> str:
    """What is SQL of it is tested on both kinds in store/test_alerts.py."""
    return "sqlite"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def answering(status: bytes, *headers: bytes) -> Callable[[Received], None]:
    """A receiver that always answers this."""
    return lambda request: request.reply(b"no", *headers, status=status)


def one(engine: Engine, hook: WebhookSettings) -> Books:
    """A ledger with one alert for it."""
    books = selling(engine, hook, thresholds=(80,))
    books.use("i", 9_000)
    return books


async def test_an_alert_is_delivered_signed_and_once(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """With each secret, so that the receiver may have the old or the new one."""
    with receiver() as server:
        hook = webhook(f"{server.url}/hook?token=t", SECRET, OTHER)
        books = selling(engine, hook)
        books.use("i", 9_500)
        with writing(engine) as session:
            session.execute(update(AlertDelivery).values(next_attempt=0))
        # Whoever verifies looks at the clock on the wall.
        sender = sender_of(engine, http, SystemClock(), hook)
        assert await sender.send_to(hook) == 2
        assert await sender.send_to(hook) == 0
    first, second = server.requests
    assert (first.method, first.target) == ("POST", b"/hook?token=t")
    assert first.header(b"content-type") == b"application/json"
    assert first.header(b"cookie") is None
    headers = {name.decode(): value.decode() for name, value in first.headers}
    for secret in (SECRET, OTHER):
        message = Webhook(secret).verify(first.body, headers)
        assert (message["type"], message["data"]["used"]) == ("package.threshold_passed", "9.5000")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET[:-1] + "A").verify(second.body, headers)
    assert told(server) == [80, 95]
    assert states(engine) == {80: "sent", 95: "sent"}
    assert sender.results == {(hook.name, "delivered"): 2}
    assert deliveries(engine)[80].sent_at > 0


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (b"500 Sorry", ()),
        (b"404 Not Found", ()),
        (b"301 Moved", (b"Location: /elsewhere",)),
        (b"307 Moved", (b"Location: http://127.0.0.1:1/",)),
        (b"304 Same", ()),
    ],
)
async def test_anything_but_2xx_is_a_failure(
    engine: Engine, http: httpx.AsyncClient, status: bytes, headers: tuple[bytes, ...]
) -> None:
    """It goes again by the schedule; nobody is sent elsewhere."""
    with receiver(answering(status, *headers)) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        assert await sender.send_to(hook) == 0
    assert [request.target for request in server.requests] == [b"/"]
    row = deliveries(engine)[80]
    assert (row.state, row.attempts, row.error) == ("pending", 1, f"HTTP {int(status[:3])}")
    wait = row.next_attempt - books.clock.now_ms()
    assert WAITS_MS[0] <= wait < WAITS_MS[0] * 1.1
    assert sender.results == {(hook.name, "refused"): 1}


async def test_a_client_that_follows_redirects_does_not(engine: Engine) -> None:
    """Whatever the client was made with."""
    with receiver(answering(b"307 Moved", b"Location: /again")) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        async with httpx.AsyncClient(follow_redirects=True) as http:
            await sender_of(engine, http, books.clock, hook).send_to(hook)
    assert len(server.requests) == 1


async def test_a_message_stays_the_same_and_is_signed_anew(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """The same bytes and the same id; the time of the attempt, and so the signature, are new."""
    with receiver(answering(b"503 Later")) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
        books.clock.time_ms = deliveries(engine)[80].next_attempt
        await sender.send_to(hook)
    first, second = server.requests
    assert first.body == second.body
    assert first.header(b"webhook-id") == second.header(b"webhook-id")
    assert first.header(b"webhook-timestamp") != second.header(b"webhook-timestamp")
    assert first.header(b"webhook-signature") != second.header(b"webhook-signature")


async def test_after_three_days_it_is_given_up(engine: Engine, http: httpx.AsyncClient) -> None:
    """Named and counted; a person has it sent again, from the beginning of the schedule."""
    with receiver(answering(b"500 Sorry")) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        started = books.clock.now_ms()
        for _ in range(MOST_ATTEMPTS):
            assert states(engine) == {80: "pending"}
            books.clock.time_ms = deliveries(engine)[80].next_attempt
            await sender.send_to(hook)
        assert (states(engine), sender.given_up) == ({80: "given_up"}, 1)
        assert 3 * 86_400_000 < books.clock.now_ms() - started < 4 * 86_400_000
        books.clock.advance(seconds=10 * 86_400)
        await sender.send_to(hook)
        assert len(server.requests) == MOST_ATTEMPTS
        with writing(engine) as session:
            assert (
                store.retry(session, store.given_up(session), [hook.name], books.clock.now_ms())
                == 1
            )
        await sender.send_to(hook)
    assert len(server.requests) == MOST_ATTEMPTS + 1
    row = deliveries(engine)[80]
    assert (row.state, row.attempts) == ("pending", 1)


async def test_a_receiver_that_is_gone_for_good(engine: Engine, http: httpx.AsyncClient) -> None:
    """410: no second attempt."""
    with receiver(answering(b"410 Gone")) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
    assert states(engine) == {80: "given_up"}
    assert deliveries(engine)[80].error == "HTTP 410"
    assert sender.given_up == 1


@pytest.mark.parametrize(("asked", "least"), [(b"60", 60_000), (b"9" * 30, 3_600_000)])
async def test_retry_after_is_heard(
    engine: Engine, http: httpx.AsyncClient, asked: bytes, least: int
) -> None:
    """Within an hour: nothing is put off for ever, and all of the webhook waits."""
    with receiver(answering(b"429 Slow", b"Retry-After: " + asked)) as server:
        hook = webhook(server.url)
        books = selling(engine, hook)
        books.use("i", 10_000)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
        assert deliveries(engine)[80].next_attempt >= books.clock.now_ms() + least
        books.clock.advance(ms=least - 1)
        await sender.send_to(hook)
        assert len(server.requests) == 1
        books.clock.advance(ms=1)
        await sender.send_to(hook)
    assert told(server) == [80, 95]


async def test_nobody_there(engine: Engine, http: httpx.AsyncClient) -> None:
    """A refused connection and an unknown name are failures, not exceptions."""
    with receiver() as server:
        gone = webhook(server.url)
    for hook in (gone, NOWHERE):
        with writing(engine) as session:
            for table in reversed(AlertDelivery.metadata.sorted_tables):
                session.execute(table.delete())
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
        assert deliveries(engine)[80].error == "ConnectError"
        assert sender.results == {(hook.name, "unreachable"): 1}


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: None,
        lambda request: request.send(b"HTTP/1.1 200 OK\r\n"),
        lambda request: request.hang_up(),
        lambda request: request.send(b"this is no HTTP\r\n\r\n"),
        lambda request: request.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000),
    ],
    ids=["silence", "half a head", "a cut", "nonsense", "a head without end"],
)
async def test_a_receiver_that_gives_no_answer(
    engine: Engine, http: httpx.AsyncClient, answer: Callable[[Received], None]
) -> None:
    """Silence, half a head, a cut, nonsense, a head without end: it goes again."""
    with receiver(answer) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        await sender_of(engine, http, books.clock, hook, budget_s=0.3).send_to(hook)
    row = deliveries(engine)[80]
    assert (row.state, row.attempts) == ("pending", 1)
    assert row.error


async def test_of_a_reply_only_the_head_is_read(engine: Engine, http: httpx.AsyncClient) -> None:
    """A body without end keeps nobody."""

    def endless(request: Received) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while not request.closed:
            try:
                request._socket.sendall(b"x" * 65536)
            except OSError:
                return

    with receiver(endless) as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        assert await sender_of(engine, http, books.clock, hook).send_to(hook) == 1
    assert states(engine) == {80: "sent"}


async def test_one_webhook_does_not_wait_for_another(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """Each has a loop of its own; one that hangs is left where it is when the sender stops."""
    with receiver(lambda request: None) as silent, receiver() as quick:
        hooks = webhook(silent.url), webhook(quick.url)
        books = selling(engine, *hooks, thresholds=(80,))
        books.use("i", 9_000)
        sender = sender_of(engine, http, books.clock, *hooks)
        async with anyio.create_task_group() as group:
            sender.start(group, Repeater(), 0.01)
            with anyio.fail_after(10):
                await to_thread.run_sync(eventually, lambda: silent.requests and sender.results)
            group.cancel_scope.cancel()
    assert sender.results == {(hooks[1].name, "delivered"): 1}


async def test_after_a_failure_a_webhook_is_left_in_peace(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """Ever longer while it fails; the others in the queue come before what failed."""
    with receiver(answering(b"500 Sorry")) as server:
        hook = webhook(server.url)
        books = selling(engine, hook)
        books.use("i", 10_000)
        sender = sender_of(engine, http, books.clock, hook)
        for pause in (0, 1000, 2000, 4000):
            books.clock.advance(ms=max(pause - 1, 0))
            await sender.send_to(hook)
            if pause:
                books.clock.advance(ms=1)
                await sender.send_to(hook)
    assert told(server) == [80, 95, 100, 80]


async def test_what_always_fails_holds_no_other_up(engine: Engine, http: httpx.AsyncClient) -> None:
    """The receiver stumbles over one message alone."""

    def stumble(request: Received) -> None:
        bad = json.loads(request.body)["data"]["threshold"] == 80
        request.reply(b"", status=b"500 Sorry" if bad else b"200 OK")

    with receiver(stumble) as server:
        hook = webhook(server.url)
        books = selling(engine, hook)
        books.use("i", 10_000)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
        books.clock.advance(seconds=1)
        assert await sender.send_to(hook) == 2
    assert states(engine) == {80: "pending", 95: "sent", 100: "sent"}


async def test_what_is_being_sent_is_nobody_elses(engine: Engine, http: httpx.AsyncClient) -> None:
    """Until the lease ends; who comes late with his outcome changes nothing."""
    with receiver() as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        now_ms = books.clock.now_ms()
        with writing(engine) as session:
            mine = store.claim(session, hook.name, now_ms=now_ms, until_ms=now_ms + LEASE_MS)
        assert mine is not None
        other = sender_of(engine, http, books.clock, hook)
        books.clock.advance(ms=LEASE_MS - 1)
        assert await other.send_to(hook) == 0
        books.clock.advance(ms=1)
        assert await other.send_to(hook) == 1
        with writing(engine) as session:
            assert not store.settle(session, mine, state="given_up", error="too late")
    assert states(engine) == {80: "sent"}
    assert deliveries(engine)[80].attempts == 2
    assert len(server.requests) == 1


async def test_a_webhook_that_left_the_configuration(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """Its alerts wait for days, as another control plane may know it; then they are given up."""
    books = one(engine, NOWHERE)
    with receiver() as server:
        hook = webhook(server.url)
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_due()
        books.clock.advance(ms=ORPHANED_MS)
        await sender.tidy()
        assert states(engine) == {80: "pending"}
        books.clock.advance(ms=1)
        await sender.tidy()
    assert states(engine) == {80: "given_up"}
    assert (sender.given_up, server.requests) == (1, [])
    assert "not configured" in deliveries(engine)[80].error


async def test_without_any_webhook_what_is_left_is_given_up(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    """Also when the last one left."""
    books = one(engine, NOWHERE)
    sender = sender_of(engine, http, books.clock)
    books.clock.advance(ms=ORPHANED_MS + 1)
    await sender.tidy()
    assert states(engine) == {80: "given_up"}


async def test_trouble_is_said_once_and_without_secrets(
    engine: Engine, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """By the webhook's name, not by its URL; its recovery too."""
    answers: list[Callable[[Received], Any]] = [answering(b"500 Sorry")] * 3 + [ok]

    def next_answer(request: Received) -> None:
        answers.pop(0)(request)

    with receiver(next_answer) as server:
        hook = webhook(f"{server.url}/t0ken")
        books = one(engine, hook)
        sender = sender_of(engine, http, books.clock, hook)
        for _ in range(4):
            books.clock.time_ms = deliveries(engine)[80].next_attempt
            await sender.send_to(hook)
    assert [record.message for record in caplog.records if record.name == "tallygate.alerts"] == [
        f"webhook {hook.name} takes no alerts: HTTP 500",
        f"webhook {hook.name} takes alerts again",
    ]
    assert "t0ken" not in caplog.text
    assert "t0ken" not in repr(sender)
    assert SECRET not in repr(sender)


def test_the_lease_outlasts_an_attempt() -> None:
    """Else the same alert would be sent twice at once."""
    assert LEASE_MS > BUDGET_S * 1000 * 2


async def test_a_clock_that_was_set_back(engine: Engine, http: httpx.AsyncClient) -> None:
    """Does not keep a webhook waiting for as long."""
    with receiver(answering(b"500 Sorry")) as server:
        hook = webhook(server.url)
        books = selling(engine, hook)
        books.use("i", 10_000)
        with writing(engine) as session:
            session.execute(update(AlertDelivery).values(next_attempt=0))
        sender = sender_of(engine, http, books.clock, hook)
        await sender.send_to(hook)
        books.clock.advance(seconds=-86_400)
        await sender.send_to(hook)
    assert told(server) == [80, 95]


async def test_a_stop_at_the_moment_of_the_reply(engine: Engine) -> None:
    """What was delivered is written down, so that the next process does not send it again."""
    with receiver() as server:
        hook = webhook(server.url)
        books = one(engine, hook)
        async with httpx.AsyncClient() as http, anyio.create_task_group() as group:
            sender = StoppedSender(engine, http, [hook], books.clock)
            sender.group = group
            group.start_soon(sender.send_to, hook)
        assert len(server.requests) == 1
    assert states(engine) == {80: "sent"}


class StoppedSender(AlertSender):
    """Is told to stop as soon as there is a reply."""

    group: TaskGroup

    async def _post(self, webhook: WebhookSettings, due: Due) -> Outcome:
        outcome = await super()._post(webhook, due)
        self.group.cancel_scope.cancel()
        return outcome


async def test_one_turn_ends(engine: Engine, http: httpx.AsyncClient) -> None:
    """Also with a receiver that keeps a command waiting; what it got without an answer goes again."""
    with receiver(lambda request: None) as silent, receiver() as quick:
        hooks = webhook(silent.url), webhook(quick.url)
        books = selling(engine, *hooks, thresholds=(80,))
        books.use("i", 9_000)
        sender = sender_of(engine, http, books.clock, *hooks, turn_s=0.5)
        await sender.send_due()
        books.clock.advance(ms=LEASE_MS)
        await sender.send_due()
    assert len(silent.requests) == 2
    assert sender.results == {(hooks[1].name, "delivered"): 1}
