"""The control plane as a whole: its loops over a real Valkey and real SQL, its two listeners."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.app import Control
from billing_sync.errors import MakerUnusable, StaticConflict
from billing_sync.koogallery import licence_upload, orders, usage_push
from billing_sync.models import Instance
from billing_sync.parts import Parts, set_up
from billing_sync.settings import BillingSettings, KooGallerySettings, LicenceSettings
from billing_sync.sites import admin_site, public_site
from billing_sync.store.customers import StaticCustomer
from billing_sync.store.engine import writing
from billing_sync.store.ledger import PartitionsDiffer
from metering import entitlements
from metering.catalogue import Licence, Product, catalogue
from metering.partitions import partition_of
from tests.billing_sync.books import CATALOGUE, START
from tests.billing_sync.lanes import Lane
from tests.billing_sync.marketplace import ACCESS_KEY, SECRET, sign
from tests.databases import folder_of
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

PARTITIONS = 4
HOME = partition_of("cust-1", PARTITIONS)
TOKEN = "t0ken"


class OpenApi:
    """KooGallery's open API: one buyer, who ordered `products`; takes every push."""

    def __init__(self) -> None:
        self.pushed: list[dict[str, str]] = []
        self.products = ["TOKENS"]
        self.licences: list[bytes] = []
        self.app = Starlette(
            routes=[
                Route(orders.PATH, self.order),
                Route(usage_push.PATH, self.push, methods=["POST"]),
                Route(licence_upload.PATH, self.upload, methods=["POST"]),
            ]
        )

    async def order(self, request: Request) -> Response:
        line = {
            "orderLineId": request.query_params["orderLineId"],
            "chargingMode": "ON_DEMAND",
            "productInfo": [{"productId": each} for each in self.products],
        }
        order = {
            "orderId": request.query_params["orderId"],
            "orderLine": [line],
            "buyerInfo": {"customerId": "cust-1", "customerName": "One"},
        }
        return JSONResponse({"resultCode": "MKT.0000", "resultMsg": "ok", "orderInfo": order})

    async def upload(self, request: Request) -> Response:
        self.licences.append(await request.body())
        return JSONResponse({"error_code": "MKT.0000", "error_msg": "success"})

    async def push(self, request: Request) -> Response:
        self.pushed += (await request.json())["usage_records"]
        return JSONResponse({"error_code": "MKT.0000", "error_msg": "success"})


class Plane:
    """A running control plane and everybody around it."""

    def __init__(self, parts: Parts, api: OpenApi) -> None:
        self.parts = parts
        assert isinstance(parts.clock, FakeClock)
        self.clock = parts.clock
        self.api = api
        self.control = Control(parts)
        self.admin = _client(admin_site(self.control), {"Authorization": f"Bearer {TOKEN}"})
        self.public = _client(public_site(self.control), {})
        self.lane = Lane(parts.redis)

    async def call(self, activity: str, **fields: str) -> dict[str, Any]:
        """A signed callback."""
        body = dict(sorted({"activity": activity, **fields}.items()))
        raw = json.dumps(body, separators=(",", ":")).encode()
        now, nonce = self.clock.now_ms(), secrets.token_hex(16)
        query = {"signature": sign(raw, now, nonce), "timestamp": str(now), "nonce": nonce}
        reply = await self.public.post("/koogallery", content=raw, params=query)
        answer: dict[str, Any] = reply.json()
        assert answer["resultCode"] == "000000", answer
        return answer

    async def total(self) -> dict[str, str]:
        found: dict[str, str] = (await self.admin.get("/api/v1/usage")).json()["total"]
        return found

    async def status(self) -> str | None:
        """The status of the buyer's first instance, as gateways see it."""
        snapshot = await entitlements.get(self.parts.redis, "cust-1")
        return snapshot.instances[0].status if snapshot and snapshot.instances else None


def _client(app: Starlette, headers: dict[str, str]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://control", headers=headers)


def parts_of(engine: Engine, redis: Redis, http: httpx.AsyncClient, **parts: Any) -> Parts:
    given: dict[str, Any] = {
        "engine": engine,
        "data_dir": folder_of(engine),
        "redis": redis,
        "http": http,
        "catalogue": CATALOGUE,
        "partitions": PARTITIONS,
        "billing": BillingSettings(),
        "koogallery": KooGallerySettings(
            base_url="http://koo.test",
            access_key=SecretStr(ACCESS_KEY),
            ak=SecretStr("AK"),
            sk=SecretStr("SK"),
        ),
        "static": [],
        "secret": SECRET,
        "admin_token": TOKEN,
        "front_end_url": "https://api.example.com",
        "clock": FakeClock(START + 600_000),
    }
    return Parts(**(given | parts))


@asynccontextmanager
async def plane_of(engine: Engine, redis: Redis, **parts: Any) -> AsyncIterator[Plane]:
    api = OpenApi()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app)) as http:
        plane = Plane(parts_of(engine, redis, http, **parts), api)
        async with plane.control.running():
            yield plane


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(20):
        while not await done():  # noqa: ASYNC110  (the loops under test tell nobody)
            await anyio.sleep(0.02)


async def test_from_purchase_to_release(engine: Engine, redis: Redis) -> None:
    """Bought, told to the gateways, used, seen, released, recorded, pushed."""
    async with plane_of(engine, redis) as plane:
        created = await plane.call("newInstance", orderId="o", orderLineId="o-1", businessId="b")
        instance_id = created["instanceId"]

        async def active() -> bool:
            return await plane.status() == "active"

        await until(active)
        await plane.lane.count(HOME, 1500, instance_id=instance_id)
        await plane.lane.count(HOME, 1500)
        assert await plane.total() == {"tokens_total": "1500"}
        plane.clock.advance(seconds=60)
        await plane.call("releaseInstance", instanceId=instance_id)

        async def released() -> bool:
            return await plane.status() == "released"

        await until(released)
        plane.clock.advance(seconds=4)

        async def pushed() -> bool:
            return bool(plane.api.pushed)

        await until(pushed)
        (record,) = plane.api.pushed
        assert (record["instance_id"], record["usage_value"]) == (instance_id, "1.5000")
        assert (record["begin_time"], record["end_time"]) == (
            "20270115T081000Z",
            "20270115T081055Z",
        )
        figure = await plane.call("queryInstance", instanceId=instance_id)
        assert figure["info"][0]["usageInfo"][0]["usageValue"] == 1.5
        metrics = (await plane.admin.get("/metrics")).text
        assert (
            'billing_sync_callbacks_total{activity="releaseInstance",code="000000"} 1.0' in metrics
        )
        assert 'billing_sync_outbox{state="sent"} 1.0' in metrics


async def test_an_emptied_redis_is_filled_again(engine: Engine, redis: Redis) -> None:
    """Counters start again at the checkpoints, and entitlements are back for new gateways."""
    static = [StaticCustomer("cust-1", "One", [("i", "TOKENS")])]
    async with plane_of(engine, redis, static=static) as plane:

        async def told() -> bool:
            return await plane.status() == "active"

        await until(told)
        await plane.lane.count(HOME, 5)

        async def drained() -> bool:
            return plane.control.runner.drainer.drains == 1

        await until(drained)

        async def reset() -> bool:
            return plane.control.runner.drainer.resets == 2 * PARTITIONS

        await redis.flushall()
        await until(reset)
        await until(told)
        plane.lane.places.clear()
        await plane.lane.count(HOME, 7)
        assert await plane.total() == {"tokens_total": "12"}


async def test_leaving_ends_the_loops(engine: Engine, redis: Redis) -> None:
    """And what the block raised comes out as it is, not in a group."""
    with pytest.raises(KeyError, match="of the listener"):
        async with plane_of(engine, redis):
            raise KeyError("of the listener")


async def test_a_licence_is_made_and_uploaded(engine: Engine, redis: Redis) -> None:
    """By the loops of the control plane, within the call that asked for it; the operator sees it."""
    licence = Product(product_id="LIC", licence=Licence())
    settings = LicenceSettings(maker="tests.billing_sync.licence_fixtures:make")
    koogallery = {"access_key": ACCESS_KEY, "ak": "AK", "sk": "SK", "base_url": "http://koo.test"}
    async with plane_of(
        engine,
        redis,
        catalogue=catalogue([licence]),
        koogallery=KooGallerySettings.model_validate(koogallery | {"licence": settings}),
    ) as plane:
        plane.api.products = ["LIC"]
        created = await plane.call("newInstance", orderId="o", orderLineId="o-1", businessId="b")
        wish = {"effectiveTime": "2027-01-15 08:00:00 z", "eventId": "e", "deviceFingerprint": "m"}
        asked = await plane.call("getLicenseAsync", instanceId=created["instanceId"], **wish)
        assert asked["resultCode"] == "000000"

        async def uploaded() -> bool:
            return bool(plane.api.licences)

        await until(uploaded)
        (body,) = plane.api.licences
        assert f'"characters":"licence of {created["instanceId"]}"'.encode() in body

        async def delivered() -> bool:
            listed = (await plane.admin.get("/api/v1/licences")).json()["data"]
            return [row["state"] for row in listed] == ["delivered"]

        await until(delivered)
        metrics = (await plane.admin.get("/metrics")).text
        assert 'billing_sync_licences{state="delivered"} 1.0' in metrics
        assert 'billing_sync_licence_attempts_total{result="accepted",step="upload"} 1.0' in metrics


async def test_a_maker_that_cannot_be_called(engine: Engine, redis: Redis) -> None:
    """Is said at the start."""
    async with httpx.AsyncClient() as http:
        settings = KooGallerySettings(licence=LicenceSettings(maker="no_such_module_x:make"))
        with pytest.raises(MakerUnusable, match="no_such_module_x cannot be imported"):
            Control(parts_of(engine, redis, http, koogallery=settings))


async def test_another_number_of_partitions(engine: Engine, redis: Redis) -> None:
    """Is refused: customers would move to other partitions."""
    async with httpx.AsyncClient() as http:
        set_up(parts_of(engine, redis, http))
        set_up(parts_of(engine, redis, http))
        with pytest.raises(PartitionsDiffer, match="partitions: 8"):
            set_up(parts_of(engine, redis, http, partitions=8))


async def test_a_static_instance_of_the_marketplace(engine: Engine, redis: Redis) -> None:
    """Is refused: two sources would fight over it."""
    with writing(engine) as session:
        session.add(Instance(id="i", customer_id="c", started=1))
    async with httpx.AsyncClient() as http:
        static = [StaticCustomer("cust-1", "One", [("i", "TOKENS")])]
        with pytest.raises(StaticConflict, match="i belongs to the marketplace"):
            set_up(parts_of(engine, redis, http, static=static))


async def test_secrets_are_not_in_a_repr(engine: Engine, redis: Redis) -> None:
    """However deep one prints the control plane's parts."""
    async with httpx.AsyncClient() as http:
        parts = parts_of(engine, redis, http)
        control = Control(parts)
        for thing in (parts, control.runner, control.projector, control.callbacks, control.view):
            for secret in (SECRET.decode(), TOKEN, ACCESS_KEY, "'SK'"):
                assert secret not in repr(thing)
