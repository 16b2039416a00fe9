"""Posts one message to one webhook, and judges what came of it.

Redirects are not followed, and of a reply nothing but its head is read.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import anyio
import httpx

from billing_sync.alert_settings import WebhookSettings
from billing_sync.koogallery.outcomes import seconds_of
from billing_sync.webhooks import headers
from metering.clock import Clock

BUDGET_S: Final = 15.0  # of one attempt, connecting included
_GONE: Final = 410  # the receiver wants no more of it
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "tallygate"}


class Result(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # it answered, and not with 2xx
    UNREACHABLE = "unreachable"  # nobody answered, or too late: it may have arrived


class Outcome(NamedTuple):
    """The judgement of one attempt; `asked_ms` is what the receiver's Retry-After says."""

    result: Result
    error: str = ""
    asked_ms: int = 0
    is_final: bool = False


class Message(NamedTuple):
    """What is told, under an id that stays the same at every attempt."""

    id: str
    body: bytes


async def post(
    http: httpx.AsyncClient,
    webhook: WebhookSettings,
    message: Message,
    clock: Clock,
    budget_s: float = BUDGET_S,
) -> Outcome:
    """One attempt, signed now. Never raises for what the network or the receiver does."""
    secrets = [secret.get_secret_value() for secret in webhook.secrets]
    signed = headers(message.id, clock.now_ms(), message.body, secrets)
    try:
        with anyio.fail_after(budget_s):
            async with http.stream(
                "POST",
                webhook.url,
                content=message.body,
                headers=_HEADERS | signed,
                follow_redirects=False,
                timeout=budget_s,
            ) as reply:
                return _judge(reply, clock)
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(Result.UNREACHABLE, f"no reply within {budget_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        return Outcome(Result.UNREACHABLE, type(failure).__name__)


def _judge(reply: httpx.Response, clock: Clock) -> Outcome:
    status = reply.status_code
    if reply.is_success:
        return Outcome(Result.DELIVERED)
    asked_s = seconds_of(reply.headers.get("retry-after"), clock.now_ms()) or 0
    return Outcome(Result.REFUSED, f"HTTP {status}", int(asked_s * 1000), status == _GONE)
