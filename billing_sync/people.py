"""Composes what customers' people use: links to their page, the page itself, and signing in."""

import os
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Engine
from starlette.routing import Route

from billing_sync.customer_pages import STATIC, CustomerPages
from billing_sync.customer_view import CustomerView
from billing_sync.form_tokens import FormTokens
from billing_sync.key_ring import KeyRing
from billing_sync.koogallery.oauth_client import OAuthClient
from billing_sync.link_tokens import UsageLinks
from billing_sync.linking import Linker
from billing_sync.recent_requests import RecentRequests
from billing_sync.settings import BillingSettings, ControlSettings, KooGallerySettings
from billing_sync.shown_limits import LimitsOf
from billing_sync.sign_in_pages import CALLBACK, SignInPages
from billing_sync.signing_in import SignIn
from billing_sync.store.worker import SqlWorker
from billing_sync.usage_view import UsageView
from billing_sync.web.pages import Pages
from billing_sync.zones import day_zone
from metering.catalogue import Catalogue
from metering.clock import Clock


class PeopleParts(Protocol):
    """What of the control plane's parts is needed here."""

    engine: Engine
    data_dir: Path
    http: httpx.AsyncClient
    secret: bytes
    billing: BillingSettings
    control: ControlSettings
    control_url: str
    koogallery: KooGallerySettings
    catalogue: Catalogue
    clock: Clock
    quota_path: str | None

    @property
    def limits_of(self) -> LimitsOf:
        """The limits that a customer is told of."""


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


def pages_of(parts: PeopleParts, usage: UsageView, ring: KeyRing) -> list[Route]:
    """The routes of the public listener that are for people."""
    zone = day_zone(parts.billing, parts.koogallery)
    view = CustomerView(
        SqlWorker(parts.engine),
        usage,
        ring,
        RecentRequests(parts.data_dir / "journal", parts.clock),
        parts.limits_of,
        parts.catalogue,
        parts.clock,
        zone,
    )
    pages, forms = Pages(STATIC, zone, {}), FormTokens(parts.secret)
    signing = SignInPages(
        sign_in_of(parts), pages, forms, _base(parts), parts.control.sign_in.portal_url
    )
    served = CustomerPages(linker_of(parts), view, pages, forms, parts.quota_path, signing.door)
    return [*served.routes(), *signing.routes()]


def sign_in_of(parts: PeopleParts) -> SignIn:
    """What signs tenants' users in. Centres on this machine may do without TLS where the marketplace
    itself is one on this machine: a simulator."""
    market = urlsplit(parts.koogallery.base_url or "")
    return SignIn(
        SqlWorker(parts.engine),
        parts.secret,
        OAuthClient(parts.http),
        parts.control.sign_in,
        f"{_base(parts)}{CALLBACK}",
        parts.clock,
        os.urandom,
        loopback=market.scheme == "http",
    )


def _base(parts: PeopleParts) -> str:
    return parts.control_url.rstrip("/")
