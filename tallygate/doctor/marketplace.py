"""Looks at KooGallery's open API: TLS, its clock, and whether AK and SK are taken there."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import httpx

from billing_sync.errors import OrderUnavailable
from billing_sync.koogallery.orders import PATH, OrderClient
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock
from tallygate.doctor.diagnosis import Diagnosis, finding, note, ok
from tallygate.doctor.stores import MOST_SKEW_MS

MOCK_ORDER: Final = "MOCKONDEMAND"  # spec §7.5
_BUDGET_S: Final = 5.0


def look_at_keys(settings: KooGallerySettings) -> Iterator[Diagnosis]:
    """Which keys are set; none of them is ever shown."""
    if settings.access_key is None:
        text = "koogallery.access_key is not set: every callback is refused"
        yield finding("keys", text)
    if settings.ak is None or settings.sk is None:
        text = "koogallery.ak and sk are not set: V2.0 orders cannot be asked for"
        yield note("keys", text)
    elif settings.access_key is not None:
        yield ok("keys", "access_key, ak and sk are set")


async def look_at_open_api(
    http: httpx.AsyncClient, settings: KooGallerySettings, clock: Clock
) -> list[Diagnosis]:
    """Only when there are keys for it."""
    if settings.ak is None or settings.sk is None:
        return []
    try:
        with anyio.fail_after(_BUDGET_S):
            reply = await http.get(settings.host + PATH)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as away:
        text = f"{settings.host} cannot be reached: {str(away) or type(away).__name__}"
        return [finding("open API", text[:300])]
    return [_clock(reply, clock), await _order_query(http, settings, clock)]


def _clock(reply: httpx.Response, clock: Clock) -> Diagnosis:
    try:
        at_ms = int(parsedate_to_datetime(reply.headers.get("date", "")).timestamp() * 1000)
    except ValueError:
        return note("clock", "the open API does not tell its time")
    skew_ms = at_ms - clock.now_ms()
    if abs(skew_ms) > MOST_SKEW_MS:
        text = f"the open API's clock is {skew_ms // 1000} s from ours: synchronise this machine"
        return finding("clock", text)
    return ok("clock", "within 30 s of the open API's")


async def _order_query(
    http: httpx.AsyncClient, settings: KooGallerySettings, clock: Clock
) -> Diagnosis:
    """A mock order is known to every seller, so its answer proves AK and SK."""
    client = OrderClient(http, settings, clock, budget_s=_BUDGET_S)
    try:
        order = await client.find(MOCK_ORDER, f"{MOCK_ORDER}-000001")
    except OrderUnavailable as refused:
        return finding("open API", f"{refused}; check koogallery.ak, sk and site")
    if order is None:
        return note("open API", f"AK and SK are taken; it knows no {MOCK_ORDER}")
    return ok("open API", "order query answers; AK and SK are taken")
