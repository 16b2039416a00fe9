"""Calls the open APIs (spec §7): a host and its fallback, bounded replies, one budget for the whole.

The next host is asked only when nothing was sent: a connection that was refused, never came about, or
showed a certificate that is not to be trusted. What was sent may have been done, and is for the
caller to judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx

from billing_sync.koogallery.aksk import AkSkAuth
from billing_sync.koogallery.hosts import Hosts
from billing_sync.koogallery.outcomes import seconds_of
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock

MAX_REPLY: Final = 1024 * 1024
NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_CONNECT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request, without its host."""

    method: str
    path: str
    params: Mapping[str, str] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; a body beyond the bound is empty."""

    status: int
    body: bytes
    retry_after_s: float | None


class OpenApi:
    """One seller's way to the marketplace. `budget_s` bounds a call, all hosts and connecting included."""

    def __init__(
        self, http: httpx.AsyncClient, settings: KooGallerySettings, clock: Clock, budget_s: float
    ) -> None:
        self._http = http
        self._clock = clock
        self._budget_s = budget_s
        self._hosts = Hosts(settings.hosts)
        # So that a host that swallows what is sent to it leaves time for the other.
        self._connect_s = min(_CONNECT_S, budget_s / (len(settings.hosts) + 1))

    async def call(self, call: Call, auth: httpx.Auth | None) -> Reply:
        """Raises TimeoutError, and what httpx raises: one of NOT_SENT only if nothing was sent."""
        with anyio.fail_after(self._budget_s):
            *first, last = self._hosts.in_turn(self._clock.now_ms())
            for host in first:
                try:
                    return await self._ask(host, call, auth)
                except NOT_SENT:
                    self._hosts.away(host, self._clock.now_ms())
            return await self._ask(last, call, auth)

    async def _ask(self, host: str, call: Call, auth: httpx.Auth | None) -> Reply:
        async with self._http.stream(
            call.method,
            host + call.path,
            params=call.params,
            content=call.content,
            headers=call.headers,
            auth=auth,
            timeout=httpx.Timeout(self._budget_s, connect=self._connect_s),
            follow_redirects=False,  # a signed request is for this host alone
        ) as reply:
            wait = seconds_of(reply.headers.get("retry-after"), self._clock.now_ms())
            self._hosts.there(host)
            return Reply(reply.status_code, await bounded(reply, MAX_REPLY), wait)


def aksk_of(settings: KooGallerySettings, clock: Clock) -> AkSkAuth | None:
    """The signer for these settings; None while a key is missing."""
    if settings.ak is None or settings.sk is None:
        return None
    return AkSkAuth(settings.ak.get_secret_value(), settings.sk.get_secret_value(), clock)


async def bounded(reply: httpx.Response, limit: int) -> bytes:
    """A streamed reply of at most `limit` bytes; a longer one counts as empty."""
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return b""
    return bytes(body)
