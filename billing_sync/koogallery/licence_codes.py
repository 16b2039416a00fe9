"""Authorization codes at the open API (spec §4.2): activate one, and ask how it stands (heartbeat).

For a merchant's own software, and behind `tallygate licences activate|heartbeat`.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

from billing_sync.errors import BadEvent
from billing_sync.koogallery.aksk import AkSkAuth
from billing_sync.koogallery.client import NOT_SENT, Call, OpenApi, Reply, aksk_of
from billing_sync.koogallery.fields import LICENCE_CODE, checked, utc_ms
from billing_sync.koogallery.outcomes import Kind, PushOutcome, classify
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock

ACTIVATE: Final = "/api/mkp-openapi-public/global/v1/license/activate"
HEARTBEAT: Final = "/api/mkp-openapi-public/global/v1/license/heartbeat"
BUDGET_S: Final = 15.0
_HEADERS: Final = {"Content-Type": "application/json", "x-stage": "RELEASE"}
_MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class CodeStanding:
    """What the marketplace says of a code; what it does not say is empty, `expires` is UTC ms or 0.

    `kind` accepted: it did what was asked. Transient, ambiguous: ask again, it does no harm.
    """

    kind: Kind
    code: str
    message: str = ""
    status: str = ""
    expires: int = 0
    product_id: str = ""
    order_id: str = ""
    amount: str = ""


class CodeClient:
    """Asks with APP authentication where `koogallery.licence.app_key` is set, else with AK and SK."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: KooGallerySettings,
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._api = OpenApi(http, settings, clock, budget_s)
        self._auth = _auth_of(settings, clock)

    async def activate(self, code: str) -> CodeStanding:
        """Tell that the buyer uses the code. Raises BadEvent for what can be no code."""
        return await self._ask(ACTIVATE, code)

    async def heartbeat(self, code: str) -> CodeStanding:
        """How the code stands; to be asked at its first use of each day. Raises BadEvent."""
        return await self._ask(HEARTBEAT, code)

    async def _ask(self, path: str, code: str) -> CodeStanding:
        body = json.dumps({"license": checked(LICENCE_CODE, code)}).encode()
        if self._auth is None:
            text = "needs koogallery.ak and sk, or koogallery.licence.app_key and app_secret"
            return CodeStanding(Kind.PERMANENT, "configuration", text)
        try:
            reply = await self._api.call(
                Call("POST", path, content=body, headers=_HEADERS), self._auth
            )
        except NOT_SENT as error:
            return CodeStanding(Kind.TRANSIENT, type(error).__name__, "was not sent")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return CodeStanding(Kind.AMBIGUOUS, type(error).__name__, "no answer after sending")
        return standing_of(reply)


def standing_of(reply: Reply) -> CodeStanding:
    """Judge a reply; its `license_code_info` is JSON, or the same written as a string."""
    outcome: PushOutcome = classify(reply.status, reply.body, reply.retry_after_s)
    info = _info(reply.body) if outcome.kind is Kind.ACCEPTED else {}
    return CodeStanding(
        kind=outcome.kind,
        code=outcome.code,
        message=outcome.message,
        status=_text(info.get("status")),
        expires=_expiry(_text(info.get("expire_time"))),
        product_id=_text(info.get("product_id")),
        order_id=_text(info.get("order_id")),
        amount=_text(info.get("amount")),
    )


def _info(body: bytes) -> dict[str, Any]:
    found: Any = _json(body)
    for step in ("data", "license_code_info"):
        found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, str):
            found = _json(found.encode())
    return found if isinstance(found, dict) else {}


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None


def _text(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text if len(text) <= _MAX_TEXT and text.isprintable() else ""


def _expiry(text: str) -> int:
    try:
        return utc_ms("expire_time", text) if text else 0
    except BadEvent:
        return 0


def _auth_of(settings: KooGallerySettings, clock: Clock) -> AkSkAuth | None:
    app_key, app_secret = settings.licence.app_key, settings.licence.app_secret
    if app_key is not None and app_secret is not None:  # APP authentication signs in the same way
        return AkSkAuth(app_key, app_secret.get_secret_value(), clock)
    return aksk_of(settings, clock)
