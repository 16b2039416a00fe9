"""Sends alerts to webhooks. The order, and what a crash after each step leaves:

1. the alert and a delivery for each webhook stand in the transaction of the deduction (drain.py)
                                   the delivery is due
2. claim a delivery (leased)       when the lease ends, it is claimed again
3. POST                            as 2: the same message under the same webhook-id, so a receiver that
                                   looks at it counts it once
4. write the outcome in SQL        done, or due again later, or given up

Redirects are not followed, and of a reply nothing but its head is read. The lease names who may write
an outcome: who comes late, after somebody else has claimed the delivery, changes nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
import httpx
from anyio import to_thread
from anyio.abc import TaskGroup
from sqlalchemy import Engine

from billing_sync.alert_settings import WebhookSettings
from billing_sync.alerts import DeliveryState, message_of
from billing_sync.pacing import backoff_ms
from billing_sync.repeating import Repeater, Wake
from billing_sync.store import alert_deliveries as store
from billing_sync.store.alert_deliveries import Due
from billing_sync.store.engine import reading, writing
from billing_sync.webhook_posting import BUDGET_S, Message, Outcome, Result, post
from billing_sync.webhooks import wait_ms
from metering.clock import Clock

log = logging.getLogger("tallygate.alerts")

LEASE_MS: Final = 60_000  # longer than an attempt can take
ORPHANED_MS: Final = 4 * 86_400_000  # longer than a message is tried
_TIDY_EVERY_S: Final = 60.0
_LONGEST_PAUSE_MS: Final = 3_600_000  # as long as a Retry-After counts


@dataclass
class AlertSender:
    """Empties the outbox of alerts. `results` counts attempts by webhook and result, `given_up`
    deliveries that need a person."""

    engine: Engine
    http: httpx.AsyncClient
    webhooks: Sequence[WebhookSettings]
    clock: Clock
    budget_s: float = BUDGET_S
    turn_s: float = 2 * BUDGET_S
    results: dict[tuple[str, str], int] = field(default_factory=dict)
    given_up: int = 0

    def __post_init__(self) -> None:
        self._failures: dict[str, int] = {}  # in a row, by webhook
        self._resume_ms: dict[str, int] = {}

    def start(self, group: TaskGroup, repeater: Repeater, every_s: float) -> None:
        """A loop for each webhook, none waiting for another, and one that tidies up."""
        for webhook in self.webhooks:
            job = partial(self.send_to, webhook)
            group.start_soon(repeater.forever, f"alerts {webhook.name}", job, every_s, Wake())
        group.start_soon(repeater.forever, "alerts", self.tidy, _TIDY_EVERY_S, Wake())

    async def send_due(self) -> None:
        """One turn of every webhook, cut off after a while. Raises SQLAlchemyError."""
        with anyio.move_on_after(self.turn_s):
            async with anyio.create_task_group() as group:
                for webhook in self.webhooks:
                    group.start_soon(self.send_to, webhook)

    async def send_to(self, webhook: WebhookSettings) -> int:
        """Send what is due there, one after the other, until one fails; how many were delivered.

        After a failure the webhook is left in peace for a while. Raises SQLAlchemyError.
        """
        sent = 0
        while not self._is_paused(webhook.name):
            due = await to_thread.run_sync(self._claim, webhook.name)
            if due is None:
                break
            outcome = await self._post(webhook, due)
            with anyio.CancelScope(shield=True):  # what was delivered is not sent again for a stop
                await to_thread.run_sync(self._settle, due, outcome)
            self._note(webhook.name, outcome)
            sent += outcome.result is Result.DELIVERED
        return sent

    def _is_paused(self, webhook: str) -> bool:
        """A clock that was set back makes no pause longer than any that was meant."""
        left_ms = self._resume_ms.get(webhook, 0) - self.clock.now_ms()
        return 0 < left_ms <= _LONGEST_PAUSE_MS

    async def tidy(self) -> None:
        """Give up what nobody has tried for days: its webhook left the configuration."""
        await to_thread.run_sync(self._abandon)

    def _claim(self, webhook: str) -> Due | None:
        """Step 2; as good as always there is nothing to do, and that is only looked at."""
        now_ms = self.clock.now_ms()
        with reading(self.engine) as session:
            if not store.is_due(session, webhook, now_ms):
                return None
        with writing(self.engine) as session:
            return store.claim(session, webhook, now_ms=now_ms, until_ms=now_ms + LEASE_MS)

    async def _post(self, webhook: WebhookSettings, due: Due) -> Outcome:
        """Step 3."""
        message = Message(due.alert.id, message_of(due.alert))
        return await post(self.http, webhook, message, self.clock, self.budget_s)

    def _settle(self, due: Due, outcome: Outcome) -> None:
        """Step 4."""
        columns = self._columns(due, outcome)
        with writing(self.engine) as session:
            written = store.settle(session, due, **columns)
        if written and columns["state"] == DeliveryState.GIVEN_UP:
            self.given_up += 1
            text = "alert %s is given up for webhook %s after %d attempts: %s"
            log.error(text, due.alert.id, due.webhook, due.attempts, outcome.error)

    def _columns(self, due: Due, outcome: Outcome) -> dict[str, Any]:
        now_ms = self.clock.now_ms()
        if outcome.result is Result.DELIVERED:
            return {"state": DeliveryState.SENT, "sent_at": now_ms, "error": ""}
        wait = wait_ms(due.attempts, due.alert.id, outcome.asked_ms)
        if wait is None or outcome.is_final:
            return {"state": DeliveryState.GIVEN_UP, "error": outcome.error}
        return {
            "state": DeliveryState.PENDING,
            "next_attempt": now_ms + wait,
            "error": outcome.error,
        }

    def _note(self, webhook: str, outcome: Outcome) -> None:
        """Counts, and says once per kind of trouble what the webhook does."""
        place = (webhook, outcome.result.value)
        self.results[place] = self.results.get(place, 0) + 1
        if outcome.result is Result.DELIVERED:
            if self._failures.pop(webhook, 0):
                log.warning("webhook %s takes alerts again", webhook)
            return
        failures = self._failures[webhook] = self._failures.get(webhook, 0) + 1
        pause = max(backoff_ms(failures), outcome.asked_ms)
        self._resume_ms[webhook] = self.clock.now_ms() + pause
        if failures == 1:
            log.warning("webhook %s takes no alerts: %s", webhook, outcome.error)

    def _abandon(self) -> None:
        names = [webhook.name for webhook in self.webhooks]
        before_ms = self.clock.now_ms() - ORPHANED_MS
        with reading(self.engine) as session:
            if not store.has_orphans(session, names, before_ms=before_ms):
                return
        with writing(self.engine) as session:
            self.given_up += store.abandon(session, names, before_ms=before_ms)
