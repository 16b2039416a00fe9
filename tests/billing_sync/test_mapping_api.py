"""Product ids that nobody configured: sold all the same, shown, mapped, and metered from then on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlmodel import select
from starlette.applications import Starlette

from billing_sync import mapping_api
from billing_sync.mapping import Mapper
from billing_sync.market_models import ProductMapping
from billing_sync.models import Instance
from billing_sync.store import mappings
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import pending_projections
from billing_sync.store.worker import SqlWorker
from billing_sync.upgrade_models import Upgrade
from tests.billing_sync.marketplace import CATALOGUE, Marketplace

pytestmark = pytest.mark.anyio

PATH = "/api/v1/mappings"
MIKE = {"mapped_to": "TOKENS", "author": "mike"}


@pytest.fixture
def market(engine: Engine) -> Marketplace:
    return Marketplace(engine)


@pytest.fixture
def mapper(market: Marketplace) -> Mapper:
    return Mapper(SqlWorker(market.engine), CATALOGUE, market.clock, market._changed)


@pytest.fixture
async def api(mapper: Mapper) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=mapping_api.routes(mapper, "t0ken")))
    headers = {"Authorization": "Bearer t0ken"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers=headers
    ) as client:
        yield client


def row(engine: Engine, instance_id: str) -> Instance:
    with reading(engine) as session:
        return session.exec(select(Instance).where(Instance.id == instance_id)).one()


async def shown(api: httpx.AsyncClient) -> dict[str, Any]:
    reply = await api.get(PATH)
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


async def test_what_was_sold_is_shown_and_mapped(
    market: Marketplace, api: httpx.AsyncClient
) -> None:
    """Instances under the unknown id are metered by the mapping at once, told to the gateways."""
    made = await market.bought("CS1", "SUR/PRISE")
    gone = await market.bought("CS2", "SUR/PRISE")
    await market.call("releaseInstance", instanceId=gone)
    await market.bought("CS3", "IMAGES")
    waiting = {"product_id": "SUR/PRISE", "instances": 1, "renewals": 0}
    assert await shown(api) == {"data": [], "unmapped": [waiting]}
    changes = market.changes
    reply = await api.put(f"{PATH}/SUR/PRISE", json=MIKE)
    mapped = {"product_id": "SUR/PRISE", "at": market.clock.now_ms(), **MIKE}
    assert (reply.status_code, reply.json()) == (200, mapped | {"instances": 1})
    assert market.changes == changes + 1
    assert row(market.engine, made).product_id == "TOKENS"
    assert row(market.engine, gone).product_id == "SUR/PRISE"
    assert await shown(api) == {"data": [mapped], "unmapped": []}
    with reading(market.engine) as session:
        assert [each.customer_id for each in pending_projections(session, 9)] == ["cust-1"]


async def test_orders_to_come(market: Marketplace, api: httpx.AsyncClient) -> None:
    """They are metered by the mapping from their creation, quantity and kind included."""
    await api.put(f"{PATH}/SURPRISE", json=MIKE | {"mapped_to": "PACK"})
    market.orders.buy("CS1", "SURPRISE", linear_value=4)
    made = row(market.engine, (await market.create("CS1"))["instanceId"])
    assert (made.product_id, made.is_package, made.linear_value) == ("PACK", True, 4)
    assert market.service.unknown_products == 0
    market.orders.buy("U1", "SURPRISE", linear_value=5)
    order = {"orderId": "U1", "orderLineId": "U1-000001"}
    await market.call("upgradeInstance", instanceId=made.id, **order)
    assert row(market.engine, made.id).linear_value == 5
    removed = await api.delete(f"{PATH}/SURPRISE")
    assert removed.json()["mapped_to"] == "PACK"
    assert row(market.engine, made.id).product_id == "PACK"
    await market.bought("CS2", "SURPRISE")
    assert [each["product_id"] for each in (await shown(api))["unmapped"]] == ["SURPRISE"]


async def test_an_upgrade_to_the_unknown(market: Marketplace, api: httpx.AsyncClient) -> None:
    """The old product's last interval is cut against the product that the new one is metered as."""
    made = await market.bought("CS1")
    market.orders.buy("U1", "SURPRISE")
    order = {"orderId": "U1", "orderLineId": "U1-000001"}
    await market.call("upgradeInstance", instanceId=made, **order)
    await api.put(f"{PATH}/SURPRISE", json=MIKE | {"mapped_to": "TOKENS-YEAR"})
    with reading(market.engine) as session:
        assert session.exec(select(Upgrade.new_product_id)).one() == "TOKENS-YEAR"


async def test_a_mapping_to_what_is_no_longer_configured(market: Marketplace) -> None:
    """It counts as none: what is sold under it waits for a person again."""
    with writing(market.engine) as session:
        gone = ProductMapping(product_id="SURPRISE", mapped_to="GONE", author="a", at=1)
        mappings.put(session, gone)
    made = await market.bought("CS1", "SURPRISE")
    with writing(market.engine) as session:
        assert mappings.take_up(session, CATALOGUE, 2) == 0
        assert mappings.unmapped(session, CATALOGUE) == [("SURPRISE", 1, 0)]
    assert row(market.engine, made).product_id == "SURPRISE"


async def test_a_sale_that_a_mapping_missed(market: Marketplace, mapper: Mapper) -> None:
    """What was settled while the mapping was made is found a minute later."""
    assert await mapper.run() == 0
    made = await market.bought("CS1", "SURPRISE")
    with writing(market.engine) as session:
        late = ProductMapping(product_id="SURPRISE", mapped_to="TOKENS", author="a", at=1)
        mappings.put(session, late)
    market.clock.advance(seconds=59)
    assert await mapper.run() == 0
    market.clock.advance(seconds=1)
    assert await mapper.run() == 1
    assert row(market.engine, made).product_id == "TOKENS"


@pytest.mark.parametrize(
    ("product_id", "body", "status"),
    [
        ("TOKENS", MIKE, 409),
        ("SURPRISE", MIKE | {"mapped_to": "NOBODY"}, 409),
        ("SURPRISE", MIKE | {"author": ""}, 409),
        ("x" * 65, MIKE, 409),
        ("SURPRISE", {"mapped_to": "TOKENS"}, 400),
        ("SURPRISE", MIKE | {"more": 1}, 400),
        ("SURPRISE", "x" * 5000, 400),
    ],
)
async def test_nonsense(api: httpx.AsyncClient, product_id: str, body: Any, status: int) -> None:
    """It is refused with a sentence, and nothing is kept."""
    reply = await api.put(f"{PATH}/{product_id}", json=body)
    assert (reply.status_code, bool(reply.json()["error"]["message"])) == (status, True)
    assert (await shown(api))["data"] == []


async def test_nobody_without_the_token(api: httpx.AsyncClient) -> None:
    """Every route wants it; an unknown mapping is named."""
    for method, path in (("GET", PATH), ("PUT", f"{PATH}/X"), ("DELETE", f"{PATH}/X")):
        reply = await api.request(method, path, headers={"Authorization": "Bearer other"})
        assert reply.status_code == 401
    for unknown in ("X", "%00", "%ED%A0%80", "x" * 5000):
        gone = await api.delete(f"{PATH}/{unknown}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "unknown_mapping")
