"""Which thresholds of packages are told, and to which webhooks."""

import hashlib
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from billing_sync import webhooks
from billing_sync.alerts import AlertTerms
from metering.catalogue import Strict

_LONGEST: Final = 2048


def _url(given: str) -> str:
    """Raises ValueError for what no message can be posted to."""
    if not _can_be_called(given):
        raise ValueError("must be a URL such as https://ops.example.com/hooks/tallygate")
    parts = urlsplit(given)
    if parts.username is not None or parts.fragment:
        raise ValueError("only scheme, host, port, path and query belong here; remove the rest")
    return given


def _can_be_called(url: str) -> bool:
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, or a broken IPv6 host
        return False


def _secret(given: SecretStr) -> SecretStr:
    webhooks.key_of(given.get_secret_value())
    return given


def _distinct(given: list[int]) -> list[int]:
    if len(set(given)) < len(given):
        raise ValueError("names a percentage twice")
    return given


class WebhookSettings(Strict):
    """Where alerts are posted, and what they are signed with: each secret signs, so that one can be
    replaced by another without a break. Not shown, because a URL may hold a token."""

    url: Annotated[str, Field(max_length=_LONGEST, repr=False), AfterValidator(_url)]
    secrets: Annotated[
        list[Annotated[SecretStr, AfterValidator(_secret)]], Field(min_length=1, max_length=8)
    ]

    @property
    def name(self) -> str:
        """What logs, lists and metrics call it: its host, and which of several URLs there."""
        digest = hashlib.sha256(self.url.encode()).hexdigest()
        return f"{urlsplit(self.url).hostname}/{digest[:12]}"


def _one_each(given: list[WebhookSettings]) -> list[WebhookSettings]:
    if len({webhook.url for webhook in given}) < len(given):
        raise ValueError("names a URL twice")
    return given


class AlertSettings(Strict):
    """Percentages of a package's quota, each told once, and who is told."""

    thresholds: Annotated[list[Annotated[int, Field(ge=1, le=100)]], AfterValidator(_distinct)] = (
        Field(default_factory=lambda: [80, 95, 100], max_length=20)
    )
    webhooks: Annotated[list[WebhookSettings], AfterValidator(_one_each)] = Field(
        default_factory=list, max_length=16
    )

    @property
    def terms(self) -> AlertTerms:
        """What the ledger has to know of it."""
        names = tuple(webhook.name for webhook in self.webhooks)
        return AlertTerms(tuple(sorted(self.thresholds)), names)
