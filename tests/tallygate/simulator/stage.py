"""A simulator and a small merchant over real sockets, and hands to play both sides."""

import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tallygate.simulator.aksk import SignedRequest, signature
from tallygate.simulator.app import build_app
from tallygate.simulator.canonical import canonical
from tallygate.simulator.server import listening
from tallygate.simulator.settings import SimulatorSettings
from tallygate.simulator.signing import push_signature
from tallygate.simulator.times import format_record_time

NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
KEY, AK, SK = "key-of-the-base-interface", "an-access-key-id", "a-secret-key"
PUSH = "/api/mkp-openapi-public/global/v1/isv/usage-data"
ORDER_QUERY = "/api/mkp-openapi-public/global/v1/order/query"


class HandClock:
    """Moves when told to."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


@dataclass
class Merchant:
    """Answers callbacks as a good merchant does, unless `scripted` says otherwise."""

    clock: HandClock
    scripted: dict[str, deque[Response]] = field(default_factory=dict)
    heard: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def script(self, activity: str, *replies: Response | Mapping[str, object]) -> None:
        made = (r if isinstance(r, Response) else JSONResponse(r) for r in replies)
        self.scripted[activity] = deque(made)

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        self.heard.append(dict(request.query_params))
        code = self._verify(raw, request.query_params)
        if code:
            return JSONResponse({"resultCode": code, "resultMsg": "refused"})
        body = json.loads(raw)
        self.bodies.append(body)
        if waiting := self.scripted.get(body["activity"]):
            return waiting.popleft()
        return JSONResponse({"resultCode": "000000", "resultMsg": "success", **self._more(body)})

    def _verify(self, raw: bytes, query: Mapping[str, str]) -> str:
        if not query.get("nonce") or not query.get("timestamp"):
            return "000002"
        if abs(self.clock.now_ms() - int(query["timestamp"])) > 60_000:
            return "000002"
        if query["timestamp"].startswith("0"):
            return "000002"
        inner = hmac.new(KEY.encode(), raw, hashlib.sha256).hexdigest()
        text = KEY + query["nonce"] + query["timestamp"] + inner
        right = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
        if query.get("signature", "").lower() != right:
            return "000001"
        nonces = [heard.get("nonce") for heard in self.heard]
        return "000002" if nonces.count(query["nonce"]) > 1 else ""

    def _more(self, body: Mapping[str, str]) -> dict[str, object]:
        if body["activity"] == "newInstance":
            return {"instanceId": "i-" + body["orderLineId"]}
        if body["activity"] == "queryInstance":
            return {"info": [info(each) for each in body["instanceId"].split(",")]}
        return {}


def info(instance_id: str, **usage: object) -> dict[str, object]:
    """A good InstanceInfo."""
    one = {"usageValue": 1.5, "statisticalTime": "20260921141300000", **usage}
    return {
        "instanceId": instance_id,
        "appInfo": {"frontEndUrl": "https://example.com", "password": "sk-1"},
        "usageInfo": [one],
    }


@dataclass
class Stage:
    """A running simulator, its merchant, and a client that signs what the merchant signs."""

    clock: HandClock
    merchant: Merchant
    http: httpx.AsyncClient

    async def sim(self, method: str, path: str, body: object = None) -> Any:
        """One control call that must succeed."""
        response = await self.http.request(method, "/_sim" + path, json=body)
        assert response.is_success, response.text
        return response.json()

    async def sell(self, *product_ids: str, customer: str = "cust-1", **more: object) -> Any:
        """Places an order of these products; each is on sale as pay-per-use unless known."""
        lines = [{"product_id": product_id} for product_id in product_ids]
        order = {"customer_id": customer, "lines": lines, **more}
        return await self.sim("POST", "/orders", order)

    async def open(self, order: Mapping[str, Any]) -> Any:
        return await self.sim("POST", f"/orders/{order['order_id']}/open")

    async def push(self, *records: Mapping[str, object], **spoil: str) -> httpx.Response:
        return await self.push_body(canonical({"usage_records": records}).encode(), **spoil)

    async def push_body(self, body: bytes, **spoil: str) -> httpx.Response:
        headers = push_headers(body, self.clock.now_ms(), self.http.base_url.netloc.decode())
        return await self.http.post(PUSH, content=body, headers=headers | spoil)

    async def query_order(self, query: str, **spoil: str) -> httpx.Response:
        host = self.http.base_url.netloc.decode()
        headers = aksk_headers("GET", ORDER_QUERY, query, b"", self.clock.now_ms(), host)
        return await self.http.get(f"{ORDER_QUERY}?{query}", headers=headers | spoil)


def push_headers(body: bytes, now_ms: int, host: str) -> dict[str, str]:
    """Both kinds of authentication of one usage push."""
    ts, nonce = str(now_ms), str(uuid4())
    signed = {"signature": push_signature(KEY, ts, nonce, body), "ts": ts, "nonce": nonce}
    return signed | aksk_headers("POST", PUSH, "", body, now_ms, host)


def aksk_headers(
    method: str, path: str, query: str, body: bytes, now_ms: int, host: str
) -> dict[str, str]:
    """The Authorization of spec §7.6 and the headers it signs."""
    headers = {"host": host, "x-sdk-date": format_record_time(now_ms)}
    names = sorted(headers)
    value = signature(SignedRequest(method, path, query, headers, body), names, SK)
    signed = ";".join(names)
    authorization = f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders={signed}, Signature={value}"
    return headers | {"authorization": authorization}


def record(instance_id: str, begin_s: int = 0, **fields: object) -> dict[str, object]:
    """A good record of a minute, `begin_s` seconds after NOW_MS; None removes a field."""
    begin_ms = NOW_MS + begin_s * 1000
    made: dict[str, object] = {
        "begin_time": format_record_time(begin_ms),
        "end_time": format_record_time(begin_ms + 60_000),
        "instance_id": instance_id,
        "metering_sn": f"sn-{instance_id}-{begin_s}",
        "record_time": format_record_time(begin_ms + 60_000),
        "usage_value": "1.5",
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def settings(**changes: Any) -> SimulatorSettings:
    """Settings that do not wait long."""
    quick = {"create_interval": 0.01, "poll_interval": 0.01, "poll_attempts": 5}
    return SimulatorSettings(access_key=KEY, ak=AK, sk=SK, **{**quick, **changes})


class PromptServer(uvicorn.Server):
    """Ends when told, not at the next tick."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self.told = anyio.Event()

    async def main_loop(self) -> None:
        await self.told.wait()


@asynccontextmanager
async def serving(*apps: Starlette) -> AsyncIterator[list[str]]:
    """The apps over real sockets; yields their URLs."""
    with ExitStack() as closing:
        listeners = [closing.enter_context(listening("127.0.0.1", 0)) for _ in apps]
        servers = [PromptServer(app) for app in apps]
        async with anyio.create_task_group() as tasks:
            for server, listener in zip(servers, listeners, strict=True):
                tasks.start_soon(server.serve, [listener])
            try:
                yield [f"http://127.0.0.1:{each.getsockname()[1]}" for each in listeners]
            finally:
                for server in servers:
                    server.told.set()


@asynccontextmanager
async def staged(**changes: Any) -> AsyncIterator[Stage]:
    """Simulator and merchant, connected; the PRODUCTS are on sale."""
    clock = HandClock()
    merchant = Merchant(clock)
    app = Starlette(routes=[Route("/koogallery", merchant.answer, methods=["POST"])])
    simulator = build_app(settings(**changes), clock)
    async with (
        serving(app, simulator) as (merchant_url, sim_url),
        httpx.AsyncClient(base_url=sim_url) as http,
    ):
        stage = Stage(clock, merchant, http)
        await stage.sim("PUT", "/products", {"products": PRODUCTS})
        if "production_url" not in changes:
            url = f"{merchant_url}/koogallery"
            await stage.sim("PUT", "/settings", {"production_url": url})
        yield stage


@asynccontextmanager
async def unserved() -> AsyncIterator[httpx.AsyncClient]:
    """The simulator without a socket or a merchant, for what needs neither."""
    transport = httpx.ASGITransport(build_app(settings(), HandClock()))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as http:
        await http.put("/_sim/products", json={"products": PRODUCTS})
        yield http


PRODUCTS = [
    {"product_id": "chat", "name": "Chat", "kind": "ON_DEMAND"},
    {"product_id": "speech", "name": "Speech", "kind": "ON_DEMAND"},
    {
        "product_id": "chat-pack",
        "name": "Chat package",
        "kind": "ON_DEMAND_PKG",
        "stop_before_excess": True,
        "covers": ["chat"],
    },
]
