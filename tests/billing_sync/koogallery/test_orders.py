"""Order query: lenient reading of the reply, and a client that fails by name."""

import json
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.errors import OrderUnavailable
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.orders import PATH, OrderClient, read_reply
from billing_sync.settings import KooGallerySettings
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

LINE = {
    "orderLineId": "o-1",
    "chargingMode": "ON_DEMAND",
    "expireTime": "20221124023618",
    "productInfo": [{"productId": "P", "skuCode": "s", "productName": "n"}],
}
BUYER = {"customerId": "c", "customerName": "n", "mobilePhone": "13000000000", "email": "a@b"}
INFO = {"orderId": "o", "orderType": "NEW", "orderLine": [LINE], "buyerInfo": BUYER}


def read(info: object, code: str = "MKT.0000") -> Order | None:
    body = json.dumps({"resultCode": code, "resultMsg": "m", "orderInfo": info}).encode()
    return read_reply(200, body, "o", "o-1")


def test_a_full_reply() -> None:
    """Everything an instance needs is read; the buyer's phone and mail are not kept."""
    order = read(INFO)
    assert order is not None
    assert order.complete
    assert (order.product_ids, order.charging_mode) == (("P",), "ON_DEMAND")
    assert (order.customer_id, order.customer_name) == ("c", "n")
    assert order.expires == 1_669_257_378_000
    assert "13000000000" not in order.raw
    assert json.loads(order.raw)["orderType"] == "NEW"


@pytest.mark.parametrize(
    "info",
    [
        INFO | {"orderLine": LINE},
        INFO | {"orderLine": LINE | {"productInfo": LINE["productInfo"][0]}},
        INFO | {"orderLine": [{"orderLineId": "other"}, LINE], "buyerInfo": [BUYER]},
        INFO | {"orderLine": [{k: v for k, v in LINE.items() if k != "orderLineId"}]},
        INFO | {"buyerInfo": BUYER | {"customerId": "c"}, "extendParams": None},
    ],
    ids=["object line", "object product", "second line", "line without id", "extras"],
)
def test_other_shapes_of_the_same(info: dict[str, Any]) -> None:
    """Lists and single objects are read alike."""
    order = read(info)
    assert order is not None
    assert (order.product_ids, order.customer_id) == (("P",), "c")


def test_several_products() -> None:
    """A line with several billing items names each once."""
    products = [{"productId": "A"}, {"productId": 7}, {"productId": "A"}, {"productId": None}]
    order = read(INFO | {"orderLine": LINE | {"productInfo": products}})
    assert order is not None
    assert order.product_ids == ("A", "7")


@pytest.mark.parametrize(
    "info",
    [None, {}, INFO | {"orderLine": []}, INFO | {"orderLine": [LINE | {"orderLineId": "x"}]}],
)
def test_no_such_line(info: object) -> None:
    """An order without the line asked for is unknown."""
    assert read(info) is None


@pytest.mark.parametrize(
    "info",
    [
        {k: v for k, v in INFO.items() if k != "buyerInfo"},
        INFO | {"buyerInfo": {"customerId": ""}},
        INFO | {"buyerInfo": {"customerId": "x" * 200}},
        INFO | {"buyerInfo": {"customerId": "a\nb"}},
        INFO | {"orderLine": [LINE | {"productInfo": []}]},
    ],
    ids=["no buyer", "empty", "endless", "unprintable", "no product"],
)
def test_incomplete(info: dict[str, Any]) -> None:
    """Without a usable buyer or product nothing can be provisioned yet."""
    order = read(info)
    assert order is not None
    assert not order.complete


def test_an_impossible_expiry_is_none() -> None:
    """A date that is none does not spoil the order."""
    order = read(INFO | {"orderLine": LINE | {"expireTime": "soon"}})
    assert order is not None
    assert order.expires == 0


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, b'{"resultCode":"CBC.0999"}', "CBC.0999"),
        (406, b'{"error_code":"CBC.0250"}', "CBC.0250"),
        (401, b'{"error_code":"APIGW.0301","error_msg":"no"}', "APIGW.0301"),
        (502, b"<html>", "HTTP 502 without JSON"),
        (200, b"[]", "without JSON"),
        (200, b"[" * 60_000, "without JSON"),
        (503, b"{}", "HTTP 503"),
    ],
)
def test_refusals(status: int, body: bytes, says: str) -> None:
    """Any other code, and what is no JSON, makes the order unavailable, by name."""
    with pytest.raises(OrderUnavailable, match=says):
        read_reply(status, body, "o", "o-1")


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda s: (
        st.lists(s, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "orderLine",
                    "orderLineId",
                    "productInfo",
                    "productId",
                    "buyerInfo",
                    "customerId",
                    "z",
                ]
            ),
            s,
        )
    ),
)


@given(anything)
def test_no_shape_breaks_it(info: object) -> None:
    """Whatever orderInfo holds, it is an order, incomplete, or unknown."""
    order = read(info)
    assert order is None or isinstance(order.complete, bool)


class Shop:
    """The open API's server side: remembers requests, answers as told."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.body = json.dumps({"resultCode": "MKT.0000", "orderInfo": INFO}).encode()
        self.hangs = False
        self.app = Starlette(routes=[Route(PATH, self.answer)])

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        if self.hangs:
            await anyio.sleep_forever()
        return Response(self.body, media_type="application/json")


def orders(shop: Shop, **settings: object) -> OrderClient:
    keys = {"ak": "AK", "sk": "SK", "base_url": "http://koo.test/"} | settings
    return OrderClient(
        httpx.AsyncClient(transport=httpx.ASGITransport(shop.app)),
        KooGallerySettings.model_validate(keys),
        FakeClock(),
        budget_s=0.2,
    )


async def test_the_client_asks_signed() -> None:
    """The request carries both ids and an AK/SK signature."""
    shop = Shop()
    order = await orders(shop).find("o", "o-1")
    assert order is not None
    assert order.customer_id == "c"
    (request,) = shop.requests
    assert dict(request.query_params) == {"orderId": "o", "orderLineId": "o-1"}
    assert request.headers["authorization"].startswith("SDK-HMAC-SHA256 Access=AK, ")
    assert "x-sdk-date" in request.headers


async def test_a_slow_marketplace() -> None:
    """After the budget the order is unavailable; nobody waits longer."""
    shop = Shop()
    shop.hangs = True
    with pytest.raises(OrderUnavailable, match="longer than"):
        await orders(shop).find("o", "o-1")


async def test_an_endless_reply() -> None:
    """A reply beyond its bound counts as none, whatever it would have said."""
    shop = Shop()
    shop.body = shop.body.ljust(1024 * 1024)
    assert await orders(shop).find("o", "o-1") is not None
    shop.body += b" "
    with pytest.raises(OrderUnavailable, match="without JSON"):
        await orders(shop).find("o", "o-1")


async def test_without_keys() -> None:
    """Without AK and SK the client says which settings are missing."""
    with pytest.raises(OrderUnavailable, match=r"koogallery\.ak"):
        await orders(Shop(), sk=None).find("o", "o-1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no-scheme", "http://[::1"])
async def test_an_address_that_does_not_answer(url: str) -> None:
    """A refused connection and an impossible address are unavailability, not exceptions."""
    settings = KooGallerySettings.model_validate({"ak": "a", "sk": "s", "base_url": url})
    async with httpx.AsyncClient() as http:
        with pytest.raises(OrderUnavailable):
            await OrderClient(http, settings, FakeClock()).find("o", "o-1")


@pytest.mark.parametrize(
    ("told", "value"),
    [
        (3, 3),
        ("12", 12),
        (1, 1),
        (10**9 - 1, 10**9 - 1),
        *((told, 1) for told in (0, -4, None, True, 2.5, "x", 10**9, "٣")),
    ],
)
def test_the_quantity_the_buyer_chose(told: object, value: int) -> None:
    """An integer of up to nine digits; 1 where the order says nothing that can be one."""
    products = [{"productId": "P", "linearValue": told}, {"productId": "Q"}]
    order = read(INFO | {"orderLine": [LINE | {"productInfo": products}]})
    assert order is not None
    assert order.linear_value("P") == value
    assert (order.linear_value("Q"), order.linear_value("unheard of")) == (1, 1)


@pytest.mark.parametrize("code", ["CBC.0250", "APIGW.0308"])
async def test_too_often(code: str) -> None:
    """Who was refused so asks nobody for a while, and then again."""
    shop, clock = Shop(), FakeClock()
    answer, shop.body = shop.body, json.dumps({"resultCode": code}).encode()
    settings = KooGallerySettings.model_validate(
        {"ak": "AK", "sk": "SK", "base_url": "http://koo.test/"}
    )
    http = httpx.AsyncClient(transport=httpx.ASGITransport(shop.app))
    client = OrderClient(http, settings, clock)
    with pytest.raises(OrderUnavailable, match="called too often"):
        await client.find("o", "o-1")
    shop.body = answer
    with pytest.raises(OrderUnavailable, match="quiet for 1000 ms"):
        await client.find("o", "o-1")
    assert len(shop.requests) == 1
    clock.advance(ms=1000)
    assert await client.find("o", "o-1") is not None


def test_a_refusal_says_what_it_means() -> None:
    """Code, class and what to do about it."""
    with pytest.raises(OrderUnavailable, match=r"CBC\.0154 \(permanent: illegal token"):
        read(INFO, "CBC.0154")
