"""The books of a load test: what the replies said was used, beside what `/api/v1/usage` says.

Knows nothing of locust. It runs under gevent, where `time.sleep` lets the other users go on.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import httpx

METERS: Final = ("requests", "tokens_in", "tokens_out")
_POLL_SECONDS: Final = 0.5

# How much of which meter, by (customer, meter).
Counts = Counter[tuple[str, str]]


class UsageUnknown(Exception):
    """The usage API cannot be read; the message says why and what to check."""


class Audit:
    """One run's books. `counted` is complete once every user has stopped."""

    def __init__(self) -> None:
        self.counted: Counts = Counter()
        self.failures = 0
        self.before: Counts | None = None  # None: there is nothing to compare with

    def count(self, customer: str, usage: Mapping[str, Any]) -> None:
        """Add one complete reply; `usage` is OpenAI's object."""
        self.counted[customer, "requests"] += 1
        self.counted[customer, "tokens_in"] += usage["prompt_tokens"]
        self.counted[customer, "tokens_out"] += usage["completion_tokens"]


@dataclass(frozen=True, slots=True)
class UsageApi:
    """The control plane's admin listener, for the customers of the run."""

    url: str
    token: str
    customers: frozenset[str]
    settle_seconds: float = 10.0

    def read(self) -> Counts:
        """Totals of all time, by customer and meter. Raises UsageUnknown."""
        usage: Counts = Counter()
        for customer in self.customers:
            totals = self._totals(customer)
            for meter in METERS:
                usage[customer, meter] = int(Decimal(totals.get(meter, "0")))
        return usage

    def settled(self, until: Callable[[Counts], bool] = lambda _: True) -> Counts:
        """Read until two readings in a row are alike and as wanted, or time is up: the last one."""
        deadline = time.monotonic() + self.settle_seconds
        last = self.read()
        while True:
            time.sleep(_POLL_SECONDS)
            now = self.read()
            if (now == last and until(now)) or time.monotonic() > deadline:
                return now
            last = now

    def _totals(self, customer: str) -> Mapping[str, str]:
        url = f"{self.url.rstrip('/')}/api/v1/usage"
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            reply = httpx.get(url, params={"customer": customer}, headers=headers, timeout=10)
            reply.raise_for_status()
            return dict(reply.json()["total"])
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            option = "--admin-token" if status in (401, 403) else "--admin-url"
            raise UsageUnknown(f"{url} answered {status}; check {option}") from None
        except httpx.HTTPError as error:
            raise UsageUnknown(f"{url} cannot be reached ({error}); check --admin-url") from None
        except (ValueError, LookupError, TypeError):
            raise UsageUnknown(f"{url} answered without a total; check --admin-url") from None


def verdict(audit: Audit, api: UsageApi) -> tuple[bool, list[str]]:
    """Whether replies and usage API agree, and the table that shows it. Raises UsageUnknown."""
    before = audit.before or Counter()
    expected = before + audit.counted
    after = api.settled(until=lambda usage: usage == expected)
    added = after.copy()
    added.subtract(before)  # unlike `-` it keeps what is negative
    return after == expected and bool(audit.counted), [*_table(audit, added)]


def _table(audit: Audit, added: Counts) -> Iterator[str]:
    yield f"{'customer':24} {'meter':12} {'replies':>14} {'usage API':>14} {'difference':>12}"
    for key in sorted(audit.counted.keys() | added.keys()):
        replies, counted = audit.counted[key], added[key]
        yield f"{key[0]:24} {key[1]:12} {replies:14} {counted:14} {counted - replies:12}"
    if audit.failures:
        yield f"{audit.failures} calls failed here; the gateway may have counted what they used"
    if not audit.counted:
        yield "no call succeeded, so there was nothing to compare"
