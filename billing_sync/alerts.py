"""Decides which thresholds a package has passed, and what is told about it. Pure.

An alert is identified by package, billing item and threshold, so whoever raises it again, be it from
a ledger that was set back, raises the same one.
"""

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from billing_sync.records import value_of

TYPE: Final = "package.threshold_passed"
_NAMESPACE: Final = uuid.UUID("b0f7c1de-7d0a-5d43-8a56-2f0c4b0d9e63")


class DeliveryState(StrEnum):
    """Where an alert is on its way to a webhook."""

    PENDING = "pending"
    SENT = "sent"
    GIVEN_UP = "given_up"  # needs a person: `tallygate alerts retry`


class AlertTerms(NamedTuple):
    """Thresholds in percent, ascending, and the names of the webhooks that are told."""

    thresholds: tuple[int, ...] = ()
    webhooks: tuple[str, ...] = ()


SILENT: Final = AlertTerms()


class Use(NamedTuple):
    """What a package gave of its quota for a billing item, in the meter's unit.

    `unit` is how many of these make a billing unit.
    """

    item: str
    quota: int
    used: int
    unit: int


class Bought(NamedTuple):
    """A package: `product_id` is its own, `expires` UTC ms, 0 for never."""

    package_id: str
    customer_id: str
    product_id: str
    expires: int


class Passed(NamedTuple):
    """A threshold that a package passed: the alert's row. Figures are billing units, as text."""

    id: str
    package_id: str
    item: str
    threshold: int
    customer_id: str
    product_id: str
    quota: str
    used: str
    remaining: str
    percent: str
    expires: int
    at: int


def passed(use: Use, thresholds: Iterable[int]) -> list[int]:
    """The thresholds that the use has reached; none where there is no quota to speak of."""
    if use.quota <= 0:
        return []
    return [each for each in thresholds if use.used * 100 >= each * use.quota]


def alert_id(package_id: str, item: str, threshold: int) -> str:
    """The alert's id, the same whenever and by whomever it is raised."""
    return f"alert_{uuid.uuid5(_NAMESPACE, json.dumps([package_id, item, threshold])).hex}"


def alerts_of(
    package: Bought, uses: Iterable[Use], thresholds: Iterable[int], now_ms: int
) -> list[Passed]:
    """An alert for every threshold that the package has passed."""
    thresholds = tuple(thresholds)
    return [
        Passed(
            id=alert_id(package.package_id, use.item, threshold),
            package_id=package.package_id,
            item=use.item,
            threshold=threshold,
            customer_id=package.customer_id,
            product_id=package.product_id,
            quota=str(value_of(use.quota, use.unit)),
            used=str(value_of(use.used, use.unit)),
            remaining=str(value_of(max(use.quota - use.used, 0), use.unit)),
            percent=str(value_of(use.used * 100, use.quota)),
            expires=package.expires,
            at=now_ms,
        )
        for use in uses
        for threshold in passed(use, thresholds)
    ]


def message_of(alert: Passed) -> bytes:
    """The body of the webhook: the same bytes at every attempt."""
    data = alert._asdict()
    del data["id"]  # which is the webhook-id
    message = {"type": TYPE, "timestamp": _iso(alert.at), "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(time_ms: int) -> str:
    time = datetime.fromtimestamp(time_ms / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
