"""A licence maker behind a URL: one signed POST for each attempt, its reply bounded and read.

Signed as our webhooks are (Standard Webhooks); `webhook-id` is the licence's id at every attempt.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import anyio
import httpx

from billing_sync.koogallery.client import bounded
from billing_sync.koogallery.outcomes import seconds_of
from billing_sync.licences import (
    MAX_FILE,
    LicenceFile,
    LicenceRefused,
    LicenceRequest,
    Made,
    MakerFailed,
    NotYet,
    Reason,
    made_of,
)
from billing_sync.webhooks import headers
from metering.clock import Clock

TYPE: Final = "licence.requested"
MAX_REPLY: Final = 2 * MAX_FILE  # base64 takes a third more, and some words besides
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "tallygate"}
_LATER: Final = frozenset({202, 425, 429, 503})
_REASONS: Final = {reason.name.lower(): reason for reason in Reason}
_FORMS: Final = '{"characters"}, {"file_name", "file_base64"} or {"refused", "message"}'


@dataclass
class HookMaker:
    """Posts to `url`; `timeout_s` bounds an attempt, connecting included."""

    http: httpx.AsyncClient
    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)
    clock: Clock
    timeout_s: float

    async def make(self, request: LicenceRequest) -> Made:
        """Raises LicenceRefused, NotYet or MakerFailed."""
        body = message_of(request, self.clock.now_ms())
        signed = headers(request.id, self.clock.now_ms(), body, self.secrets)
        try:
            with anyio.fail_after(self.timeout_s):
                async with self.http.stream(
                    "POST",
                    self.url,
                    content=body,
                    headers=_HEADERS | signed,
                    follow_redirects=False,
                    timeout=self.timeout_s,
                ) as reply:
                    return await self._read(reply)
        except (TimeoutError, httpx.TimeoutException):
            raise MakerFailed(f"no reply within {self.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise MakerFailed(type(failure).__name__) from None

    async def _read(self, reply: httpx.Response) -> Made:
        status = reply.status_code
        if status in _LATER:
            after_s = seconds_of(reply.headers.get("retry-after"), self.clock.now_ms())
            raise NotYet(f"HTTP {status}", after_s or 0)
        if not reply.is_success:
            raise MakerFailed(f"HTTP {status}")
        return made_of(given_by(await bounded(reply, MAX_REPLY)))


def message_of(request: LicenceRequest, now_ms: int) -> bytes:
    """The body that is posted."""
    data = {
        "id": request.id,
        "event_id": request.event_id,
        "instance_id": request.instance_id,
        "product_id": request.product_id,
        "order_id": request.order_id,
        "order_line_id": request.order_line_id,
        "customer_id": request.customer_id,
        "customer_name": request.customer_name,
        "charging_mode": request.charging_mode,
        "quantity": request.quantity,
        "effective": _iso(request.effective),
        "expires": _iso(request.expires) if request.expires else None,
        "fingerprint": request.fingerprint,
    }
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    message = {"type": TYPE, "timestamp": _iso(at), "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def given_by(body: bytes) -> str | LicenceFile:
    """What the reply of a hook holds. Raises LicenceRefused and MakerFailed."""
    try:
        said = json.loads(body.decode())
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise MakerFailed(f"the reply is no JSON object of at most {MAX_REPLY} bytes")
    if "refused" in said:
        raise LicenceRefused(_reason(said["refused"]), str(said.get("message") or ""))
    if isinstance(said.get("characters"), str):
        return str(said["characters"])
    if isinstance(said.get("file_name"), str) and isinstance(said.get("file_base64"), str):
        return LicenceFile(said["file_name"], _decoded(said["file_base64"]))
    raise MakerFailed(f"the reply is none of {_FORMS}")


def _reason(given: Any) -> Reason:
    found = _REASONS.get(given) if isinstance(given, str) else None
    if found is None:
        raise MakerFailed(f"refused for no known reason; one of {', '.join(sorted(_REASONS))}")
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MakerFailed("file_base64 is not base64") from None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
