"""The links that the marketplace is told: the same whenever it asks, and none that works for debugging."""

from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.link_tokens import Link, UsageLinks
from billing_sync.store import links
from billing_sync.store.engine import writing
from tests.billing_sync.marketplace import FRONT_END, SECRET, Marketplace
from tests.billing_sync.v1_marketplace import V1Marketplace

pytestmark = pytest.mark.anyio

PAGES = UsageLinks.of("https://meter.example.com", SECRET)


@pytest.fixture
def database_kind() -> str:
    """What is told is judged here, not where it is stored."""
    return "sqlite"


def market(engine: Engine, pages: UsageLinks = PAGES) -> Marketplace:
    found = Marketplace(engine)
    found.service.view.pages = pages
    return found


async def shown(market: Marketplace, *instance_ids: str) -> list[dict[str, Any]]:
    answer = await market.call("queryInstance", instanceId=",".join(instance_ids))
    info: list[dict[str, Any]] = answer["info"]
    return info


async def test_each_instance_has_its_own(engine: Engine) -> None:
    """As frontEndUrl and dashboardUrl; the memo says where to call."""
    at = market(engine)
    one, other = await at.bought("CS1"), await at.bought("CS2", buyer="cust-2")
    first, second = await shown(at, one, other)
    url = first["appInfo"]["frontEndUrl"]
    assert PAGES.read(url.rpartition("/")[2]) == Link("cust-1", one)
    assert first["usageInfo"][0]["dashboardUrl"] == url
    assert FRONT_END in first["appInfo"]["memo"]
    assert PAGES.read(second["appInfo"]["frontEndUrl"].rpartition("/")[2]).customer_id == "cust-2"


async def test_the_same_whenever_it_asks(engine: Engine) -> None:
    """Also much later; a revocation changes it."""
    at = market(engine)
    instance_id = await at.bought("CS1")
    (first,) = await shown(at, instance_id)
    at.clock.advance(seconds=400 * 86_400)
    (later,) = await shown(at, instance_id)
    assert later["appInfo"] == first["appInfo"]
    with writing(engine) as session:
        links.revoke(session, "cust-1", 1)
    (revoked,) = await shown(at, instance_id)
    assert revoked["appInfo"]["frontEndUrl"] != first["appInfo"]["frontEndUrl"]


async def test_too_long_an_address(engine: Engine) -> None:
    """Is left out; the buyer is told where to call instead (spec §2.7: 512 characters)."""
    at = market(engine, UsageLinks.of("https://meter.example.com/" + "x" * 450, SECRET))
    (entry,) = await shown(at, await at.bought("CS1"))
    assert entry["appInfo"]["frontEndUrl"] == FRONT_END
    assert "dashboardUrl" not in entry["usageInfo"][0]


async def test_debugging(engine: Engine) -> None:
    """Is told an address that opens nothing, from the request alone."""
    at = Marketplace(engine, pages=PAGES)
    answer = await at.call("queryInstance", instanceId="i", testFlag="1")
    (entry,) = answer["info"]
    assert entry["appInfo"]["frontEndUrl"] == "https://meter.example.com/usage/debug"
    assert entry["usageInfo"][0]["dashboardUrl"] == "https://meter.example.com/usage/debug"


async def test_v1(engine: Engine) -> None:
    """The same link with every repeated creation: buyers open it from there."""
    at = V1Marketplace(engine)
    at.service.view.pages = PAGES
    first = await at.v1_create("CS1")
    again = await at.v1_create("CS1")
    assert first["appInfo"]["frontEndUrl"] == again["appInfo"]["frontEndUrl"]
    token = first["appInfo"]["frontEndUrl"].rpartition("/")[2]
    assert PAGES.read(token) == Link("cust-1", first["instanceId"])


async def test_none_without_an_address(engine: Engine) -> None:
    """Then the buyer is told where to call."""
    at = Marketplace(engine)
    (entry,) = await shown(at, await at.bought("CS1"))
    assert entry["appInfo"]["frontEndUrl"] == FRONT_END
    assert "dashboardUrl" not in entry["usageInfo"][0]
