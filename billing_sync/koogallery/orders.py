"""Order query (spec §7.5): who bought what. Reading the reply is pure; the client only asks.

The vendor's page is incomplete and its examples differ, so lists and single objects both pass.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import httpx

from billing_sync.errors import BadEvent, OrderUnavailable, TooOften
from billing_sync.koogallery.client import Call, OpenApi, Reply, aksk_of
from billing_sync.koogallery.error_codes import Kind, Meaning, meaning_of
from billing_sync.koogallery.fields import utc_ms
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.throttle import Throttle
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock

PATH: Final = "/api/mkp-openapi-public/global/v1/order/query"
BUDGET_S: Final = 2.0  # a callback must be answered within 5 s, and this is one part of it
_MAX_TEXT: Final = 128
_TOO_OFTEN: Final = 429
_TRIAL: Final = "TRIAL"
_CONTACT: Final = frozenset({"mobilePhone", "email"})  # nothing here needs them


class OrderClient:
    """Asks the open API. `budget_s` bounds the whole exchange, connecting included."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: KooGallerySettings,
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._api = OpenApi(http, settings, clock, budget_s)
        self._auth = aksk_of(settings, clock)
        self._clock = clock
        self._budget_s = budget_s
        self._throttle = Throttle()

    async def find(self, order_id: str, order_line_id: str) -> Order | None:
        """The order line, or None when the marketplace does not know it.

        Raises OrderUnavailable when there is no usable answer within the budget.
        """
        auth = self._auth
        if auth is None:
            raise OrderUnavailable("order query needs koogallery.ak and koogallery.sk")
        if wait_ms := self._throttle.wait_ms(self._clock.now_ms()):
            raise OrderUnavailable(f"order query was asked too often; quiet for {wait_ms} ms more")
        params = {"orderId": order_id, "orderLineId": order_line_id}
        call = Call("GET", PATH, params, headers={"Content-Type": "application/json"})
        try:
            reply = await self._api.call(call, auth)
        except TimeoutError:
            raise OrderUnavailable(f"order query took longer than {self._budget_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OrderUnavailable(f"order query failed: {type(error).__name__}") from None
        return self._read(reply, order_id, order_line_id)

    def _read(self, reply: Reply, order_id: str, order_line_id: str) -> Order | None:
        try:
            order = read_reply(reply.status, reply.body, order_id, order_line_id)
        except TooOften:
            self._throttle.refused(self._clock.now_ms(), reply.retry_after_s)
            raise
        self._throttle.served()
        return order


def read_reply(status: int, body: bytes, order_id: str, order_line_id: str) -> Order | None:
    """Judge a reply of the order query. None: it says there is no such order or line."""
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        refusal = TooOften if status == _TOO_OFTEN else OrderUnavailable
        raise refusal(f"order query answered HTTP {status} without JSON")
    code = _text(data.get("resultCode") or data.get("error_code"))
    known = meaning_of(code)
    if known is None or known.kind is not Kind.ACCEPTED:
        raise _refusal(status, code, known)
    info = _one(data.get("orderInfo"))
    line = _line(_many(info.get("orderLine")), order_line_id)
    return None if line is None else _order(info, line, order_id, order_line_id)


def _refusal(status: int, code: str, known: Meaning | None) -> OrderUnavailable:
    text = f"order query answered {code or f'HTTP {status}'}"
    if known is not None:
        text = f"{text} ({known.kind}: {known.text})"
    often = status == _TOO_OFTEN or (known is not None and known.kind is Kind.TRANSIENT)
    return TooOften(text) if often else OrderUnavailable(text)


def _order(info: dict[str, Any], line: dict[str, Any], order_id: str, order_line_id: str) -> Order:
    products = _many(line.get("productInfo"))
    ids = [_text(product.get("productId")) for product in products]
    values = [_linear_value(product.get("linearValue")) for product in products]
    buyer = _one(info.get("buyerInfo"))
    return Order(
        order_id=order_id,
        order_line_id=order_line_id,
        product_ids=tuple(dict.fromkeys(each for each in ids if each)),
        charging_mode=_text(line.get("chargingMode")),
        customer_id=_text(buyer.get("customerId")),
        customer_name=_text(buyer.get("customerName")),
        expires=_expiry(_text(line.get("expireTime"))),
        raw=json.dumps(_without_contact(info, line), ensure_ascii=True),
        linear_values={each: value for each, value in zip(ids, values, strict=True) if each},
        trial=_text(info.get("orderType")) == _TRIAL,
    )


def _line(lines: Sequence[dict[str, Any]], order_line_id: str) -> dict[str, Any] | None:
    for line in lines:
        if line.get("orderLineId") == order_line_id:
            return line
    # A single line without an id of its own can only be the one that was asked for.
    return lines[0] if len(lines) == 1 and not lines[0].get("orderLineId") else None


def _without_contact(info: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    buyer = {k: v for k, v in _one(info.get("buyerInfo")).items() if k not in _CONTACT}
    return {**info, "orderLine": [line], "buyerInfo": buyer}


def _many(value: object) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _one(value: object) -> dict[str, Any]:
    return next(iter(_many(value)), {})


def _text(value: object) -> str:
    """A short printable string, or a number as one; anything else is as good as absent."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable():
        return ""
    return text


def _linear_value(value: object) -> int:
    """An integer from 1 to 999,999,999, also written as text; 1 for anything else."""
    text = _text(value)
    plain = text.isascii() and text.isdigit() and len(text) < 10
    return max(1, int(text)) if plain else 1


def _expiry(text: str) -> int:
    try:
        return utc_ms("expireTime", text) if text else 0
    except BadEvent:
        return 0
