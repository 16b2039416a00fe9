"""Licences over the operator's API, and as metrics."""

from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync import licence_metrics
from billing_sync.licence_api import LicenceApi
from billing_sync.licences import LicenceRefused, Reason
from billing_sync.store import licence_listing
from billing_sync.store.engine import reading
from tests.billing_sync.licensing import Shop, rows
from tests.billing_sync.test_code_keeping import code, learn

pytestmark = pytest.mark.anyio


class Admin:
    """The operator's side of a shop."""

    def __init__(self, shop: Shop) -> None:
        self.woken = 0
        api = LicenceApi(shop.engine, shop.clock, self._wake)
        transport = httpx.ASGITransport(Starlette(routes=api.routes("t0ken")))
        headers = {"Authorization": "Bearer t0ken"}
        self.http = httpx.AsyncClient(transport=transport, base_url="http://a", headers=headers)

    def _wake(self) -> None:
        self.woken += 1

    async def get(self, query: str) -> list[dict[str, Any]]:
        reply = await self.http.get(f"/api/v1/{query}")
        assert reply.status_code == 200, reply.text
        data: list[dict[str, Any]] = reply.json()["data"]
        return data


async def busy(engine: Engine) -> Shop:
    """A licence made, one refused, one waiting, and a code."""
    shop = Shop(engine)
    instance = await shop.licensed("o1")
    await shop.ask(instance, "e1", deviceFingerprint="mac-secret")
    await shop.jobs.make_due()
    shop.clock.advance(seconds=1)
    shop.maker.plan = [LicenceRefused(Reason.QUOTA_USED_UP)]
    await shop.ask(instance, "e2")
    await shop.jobs.make_due()
    shop.clock.advance(seconds=1)
    await shop.ask(instance, "e3", deviceFingerprint="")
    await learn(shop)
    await code(shop, "FREEZE")
    return shop


async def test_lists(engine: Engine) -> None:
    """In order, page by page, by state, customer and instance; without anything secret."""
    admin = Admin(await busy(engine))
    listed = await admin.get("licences")
    assert [(row["event_id"], row["state"]) for row in listed] == [
        ("e1", "uploading"),
        ("e2", "refused"),
        ("e3", "making"),
    ]
    assert [row["for_device"] for row in listed] == [True, True, False]
    assert [row["is_kept"] for row in listed] == [True, False, False]
    assert {row["customer_id"] for row in listed} == {"cust-1"}
    assert not {"sealed", "asked", "device"} & set(listed[0])
    assert listed[1]["code"] == "000900"
    first = await admin.get("licences?limit=1")
    second = await admin.get(f"licences?limit=2&after={first[0]['id']}")
    assert first + second == listed
    assert len(await admin.get("licences?state=refused")) == 1
    assert await admin.get("licences?customer=nobody") == []
    assert len(await admin.get(f"licences?instance={listed[0]['instance_id']}")) == 3
    (known,) = await admin.get("licence-codes?state=frozen")
    assert (known["shown"], known["product_id"]) == ("PL-S…", "CODE")
    assert "PL-SECRET" not in str(known)
    assert await admin.get(f"licence-codes?after={known['id']}") == []


@pytest.mark.parametrize("query", ["licences?state=lost", "licences?after=lic_0", "licences?x=1"])
async def test_bad_questions(engine: Engine, query: str) -> None:
    """Are told what is wrong with them."""
    admin = Admin(Shop(engine))
    assert (await admin.http.get(f"/api/v1/{query}")).status_code == 400


async def test_only_the_operator(engine: Engine) -> None:
    """Nobody else, neither to look nor to act."""
    admin = Admin(Shop(engine))
    for method, path in (
        ("GET", "licences"),
        ("GET", "licence-codes"),
        ("POST", "licences/x/retry"),
    ):
        reply = await admin.http.request(method, f"/api/v1/{path}", headers={"Authorization": ""})
        assert reply.status_code == 401


async def test_again(engine: Engine) -> None:
    """What is refused is made again; what is not there is 404, what is due 409."""
    shop = await busy(engine)
    admin = Admin(shop)
    made, refused, waiting = rows(engine)
    reply = await admin.http.post(f"/api/v1/licences/{refused.id}/retry")
    assert (reply.status_code, reply.json()) == (200, {"id": refused.id, "state": "making"})
    assert (await admin.http.post("/api/v1/licences/lic_0/retry")).status_code == 404
    assert (await admin.http.post(f"/api/v1/licences/{waiting.id}/retry")).status_code == 409
    assert (await admin.http.post(f"/api/v1/licences/{made.id}/retry")).status_code == 409
    assert admin.woken == 4


async def test_metrics(engine: Engine) -> None:
    """How many there are in each state, what was done, and since when the oldest waits."""
    shop = await busy(engine)

    class Once(Collector):
        def collect(self) -> Any:
            with reading(engine) as session:
                figures = licence_listing.standing(session)
            yield from licence_metrics.standing(figures, shop.clock.now_ms())
            yield from licence_metrics.attempts(shop.jobs.results)

    registry = CollectorRegistry()
    registry.register(Once())
    text = generate_latest(registry).decode()
    for line in (
        'billing_sync_licences{state="uploading"} 1.0',
        'billing_sync_licences{state="rejected"} 0.0',
        'billing_sync_licence_codes{status="frozen"} 1.0',
        "billing_sync_licence_undelivered_age_seconds 3.0",
        'billing_sync_licence_attempts_total{result="refused",step="make"} 1.0',
    ):
        assert line in text, text
