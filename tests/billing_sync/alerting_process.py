"""A process that drains, sends an alert and is killed on the way: `python -m … STEP LEDGER WEBHOOK`.

STEP names what was done last.
"""

import os
import signal
import sys
from typing import Any

import anyio
import httpx
from sqlalchemy import Engine, event

from billing_sync.alert_sending import AlertSender
from billing_sync.alert_settings import WebhookSettings
from billing_sync.store.alert_deliveries import Due
from billing_sync.store.engine import open_engine
from billing_sync.webhook_posting import Outcome
from tests.billing_sync.hooks import selling, webhook

STEPS = ("deducted", "raised", "claimed", "posted", "settled")


def die(*_: Any) -> None:
    """At once, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingSender(AlertSender):
    """Dies between two steps."""

    step = ""

    async def _post(self, webhook: WebhookSettings, due: Due) -> Outcome:
        if self.step == "claimed":
            die()
        outcome = await super()._post(webhook, due)
        if self.step == "posted":
            die()
        return outcome

    def _settle(self, due: Due, outcome: Outcome) -> None:
        super()._settle(due, outcome)
        die()


async def work(engine: Engine, step: str, hook: WebhookSettings) -> None:
    """Nine tenths of a package are used, and somebody is told."""
    books = selling(engine, hook, thresholds=(80,))
    if step == "deducted":
        event.listen(engine, "commit", die)
    books.use("i", 9_000)
    if step == "raised":
        die()
    async with httpx.AsyncClient() as http:
        sender = DyingSender(engine, http, [hook], books.clock)
        sender.step = step
        await sender.send_due()


if __name__ == "__main__":
    anyio.run(work, open_engine(sys.argv[2]), sys.argv[1], webhook(sys.argv[3]))
