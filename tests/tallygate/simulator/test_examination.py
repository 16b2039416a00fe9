"""The examination: a good merchant passes, each defect is named by the case that shows it."""

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import httpx
import pytest

from tallygate.simulator.callbacks import Callbacks
from tallygate.simulator.debug_case import Version
from tallygate.simulator.examination import Examination, Examined, Order
from tallygate.simulator.suites import BaseV1, BaseV2
from tallygate.simulator.v1_cipher import encrypted
from tallygate.simulator.v1_signing import auth_token, reply_signature
from tests.tallygate.simulator.stage import KEY, HandClock, Merchant, info

pytestmark = pytest.mark.anyio

URL = "https://merchant.example.com/saas"
IV = "0123456789abcdef"
Answer = dict[str, object]


class BothVersions(httpx.AsyncBaseTransport):
    """A merchant who answers V1.0 calls from their parameters alone. `spoil` changes his answers."""

    def __init__(self, spoil: Callable[[Answer], object] = lambda answer: None) -> None:
        self._spoil = spoil

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
        answer = self._judged(call)
        self._spoil(answer)
        return signed(answer)

    def _judged(self, call: dict[str, str]) -> Answer:
        if call.pop("authToken", "") != auth_token(KEY, call):
            return refused("000001")
        if not re.fullmatch("20260921141[0-9]{6}", call.get("timeStamp", "")):
            return refused("000001")
        if wrong(call):
            return refused("000002")
        if call.get("testFlag") != "1":
            return refused("000003")
        return good(call)


def refused(code: str) -> Answer:
    return {"resultCode": code, "resultMsg": "refused"}


def good(call: dict[str, str]) -> Answer:
    answer: Answer = {"resultCode": "000000", "resultMsg": "success", "encryptType": "1"}
    if call["activity"] == "newInstance":
        access = {"frontEndUrl": "https://a", "password": encrypted(KEY, 256, "x", IV)}
        return {**answer, "instanceId": "i-" + call["orderId"], "appInfo": access}
    if call["activity"] == "queryInstance":
        entries = [info(each) for each in call["instanceId"].split(",")]
        return {**answer, "info": [{**each, "appInfo": {"frontEndUrl": "u"}} for each in entries]}
    return answer


def wrong(call: dict[str, str]) -> bool:
    """The field tables of a small merchant."""
    needed = {
        "newInstance": "customerId businessId orderId productId",
        "refreshInstance": "orderId instanceId expireTime",
        "upgrade": "instanceId orderId skuCode productId",
        "instanceStatus": "instanceId instanceStatus",
        "queryInstance": "instanceId",
    }.get(call["activity"], "instanceId orderId")
    longest = {"customerId": 100, "expireTime": 17, "diskSize": 7, "instanceStatus": 8}
    allowed = {
        "instanceStatus": "FREEZE|NORMAL",
        "trialToFormal": "0|1|",
        "trialFlag": "0|1",
        "amount": "[0-9]*",
        "expireTime": "20[0-9]{2}(0|1(?=[012]))[0-9]+",
        "activity": "[a-z]+Instance|upgrade|instanceStatus",
    }
    ids = call.get("instanceId", "x").split(",")
    return (
        any(not call.get(name) for name in needed.split())
        or any(len(call.get(n, "")) > m for n, m in longest.items())
        or any(len(call.get(n, "")) > 64 for n in ("orderId", "productId", "businessId", "skuCode"))
        or any(n in call and not re.fullmatch(p, call[n]) for n, p in allowed.items())
        or any(not 0 < len(each) <= 64 for each in ids)
    )


def signed(answer: Answer) -> httpx.Response:
    name = str(answer.pop("_header", "Body-Sign"))
    content = json.dumps(answer).encode()
    value = f'sign_type="HMAC-SHA256", signature= "{reply_signature(KEY, content)}"'
    headers = [(b"Content-Type", b"application/json"), (name.encode(), value.encode())]
    return httpx.Response(200, headers=headers, content=content)


async def examined(transport: httpx.AsyncBaseTransport, version: Version) -> list[Examined]:
    clock = HandClock()
    callbacks = Callbacks(KEY, clock, 20.0, transport)
    try:
        suite = BaseV2(KEY, clock) if version is Version.V2 else BaseV1(KEY, clock)
        return await Examination(callbacks, URL, [suite], clock, Order(seed=7)).run()
    finally:
        await callbacks.close()


def said(found: list[Examined]) -> dict[str, list[str]]:
    """Messages, and the ways in which they came up, first case wins."""
    return {f.message: ways for each in reversed(found) for f, ways in each.seen.items()}


async def test_a_good_merchant_passes() -> None:
    """Every case of V1.0, sent as often as it is to be sent."""
    found = await examined(BothVersions(), Version.V1)
    assert said(found) == {}
    for each in found:
        assert each.calls == (7 if each.case.line else 4 if each.case.is_right else 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_header": "body-sign"}, "signature check: body-sign is spelt wrongly: write Body-Sign"),
        ({"resultMsg": None}, "resultMsg is missing: reply lacks it"),
        ({"encryptType": None}, 'encryptType is missing: it must be "1" (AES-256) or "2"'),
        ({"instanceId": None}, "instanceId is missing: reply lacks it"),
        ({"appInfo": None}, "appInfo.frontEndUrl is missing: reply lacks it"),
    ],
)
async def test_a_defect_is_named(change: Answer, message: str) -> None:
    """It is there from the first call on."""
    found = await examined(BothVersions(lambda answer: answer.update(change)), Version.V1)
    assert message in said(found)
    assert "once" in said(found)[message]


async def test_a_success_where_refusal_is_due() -> None:
    """A merchant who takes everything is told what he took."""

    def lenient(answer: Answer) -> None:
        answer |= {"resultCode": "000000"}

    found = await examined(BothVersions(lenient), Version.V1)
    assert "answered 000000, must be 000001" in said(found)
    assert "answered 000000, must be 000002" in said(found)
    assert "answered 000000, must be 000003" in said(found)


async def test_another_instance_when_asked_again() -> None:
    """Idempotency shows at the second call, not at the first."""
    calls = iter(range(10_000))

    def fresh(answer: Answer) -> None:
        if "instanceId" in answer:
            answer["instanceId"] = f"i-{next(calls)}"

    found = said(await examined(BothVersions(fresh), Version.V1))
    assert found["another instanceId than the first time"][0] in ("once", "again")


class Silent(httpx.AsyncBaseTransport):
    """Nobody is there."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize("version", [Version.V2, Version.V1])
async def test_nobody_there(version: Version) -> None:
    """It is said once for each creation, and nothing else is tried."""
    found = await examined(Silent(), version)
    assert all(each.calls == 1 and each.case.line for each in found)
    assert set(said(found)) == {"production address unreachable: ConnectError: refused"}


async def test_v2_with_a_small_merchant() -> None:
    """One who checks signatures but no fields fails just the refusals of fields."""
    merchant = Merchant(HandClock())
    transport = httpx.MockTransport(v2_of(merchant))
    found = await examined(transport, Version.V2)
    wrong = {each.case.title for each in found if each.seen and each.case.is_right}
    assert wrong == set()
    assert "answered 000000, must be 000002" in said(found)
    assert all(not each.seen for each in found if each.case.tamper != "none")


async def test_v2_create_that_is_still_in_process() -> None:
    """000004 is no success in debugging, however right it is for slow provisioning."""

    def in_process(request: httpx.Request) -> httpx.Response:
        body = {"resultCode": "000004", "resultMsg": "later", "instanceId": "i-1"}
        return httpx.Response(200, json=body)

    found = await examined(httpx.MockTransport(in_process), Version.V2)
    first = said(found[:1])
    assert "production interface returned an error: 000004 later" in first


def v2_of(merchant: Merchant) -> Callable[[httpx.Request], httpx.Response]:
    """The merchant of the stage without a socket."""

    def handle(request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        merchant.heard.append(query)
        raw = request.content
        if code := merchant._verify(raw, query):
            return httpx.Response(200, json=refused(code))
        try:
            body = json.loads(raw)
            more = merchant._more({"instanceId": "", "orderLineId": "", **body})
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return httpx.Response(200, json=refused("000002"))
        return httpx.Response(200, json={"resultCode": "000000", "resultMsg": "success", **more})

    return handle
