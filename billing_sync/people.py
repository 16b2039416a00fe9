"""Composes what customers' people use: links to their page, the page itself, and signing in."""

from typing import Protocol

from sqlalchemy import Engine

from billing_sync.link_tokens import UsageLinks
from billing_sync.linking import Linker
from billing_sync.settings import ControlSettings, KooGallerySettings
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock


class PeopleParts(Protocol):
    """What of the control plane's parts is needed here."""

    engine: Engine
    secret: bytes
    control: ControlSettings
    control_url: str
    koogallery: KooGallerySettings
    catalogue: Catalogue
    clock: Clock


def linker_of(parts: PeopleParts) -> Linker:
    """What makes, revokes and opens links to customers' pages."""
    return Linker(
        SqlWorker(parts.engine),
        UsageLinks.of(parts.control_url, parts.secret),
        parts.control.links,
        parts.catalogue,
        parts.clock,
        parts.koogallery.keep_released_ms,
    )


def told_pages_of(parts: PeopleParts) -> UsageLinks | None:
    """The links that the marketplace is told: none to a listener that only this machine reaches."""
    control = parts.control
    if control.public_url is None or not control.links.in_answers:
        return None
    return UsageLinks.of(control.public_url, parts.secret)
