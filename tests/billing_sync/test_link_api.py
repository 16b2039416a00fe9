"""The operator's API for links: made with an end, revoked all at once."""

from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.sites import admin_site
from tests.billing_sync.people_site import BASE, PeopleSite, client_of, site

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """Pages; what they stand on is tried on each kind of database in store/."""
    return "sqlite"


PATH = "/api/v1/links"
HOUR_MS = 3_600_000


def admin(people: PeopleSite, token: str = "t0ken") -> httpx.AsyncClient:
    return client_of(admin_site(people.control), Authorization=f"Bearer {token}")


async def test_made_and_revoked(engine: Engine, redis: Redis) -> None:
    """It opens the page until it is revoked, with every other one of the customer."""
    async with site(engine, redis) as people, admin(people) as api, people.browser() as browser:
        made = await api.post(PATH, json={"customer_id": "c", "expires": "1h"})
        link = made.json()
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        assert link["expires"] == people.clock.now_ms() + HOUR_MS
        assert link["url"].startswith(f"{BASE}/usage/")
        assert (await browser.get(link["url"])).status_code == 200
        endless = await api.post(
            PATH, json={"customer_id": "c", "instance_id": "i", "expires": "never"}
        )
        revoked = await api.post(f"{PATH}/revoke", json={"customer_id": "c"})
        assert revoked.json() == {"customer_id": "c", "revision": 1}
        for url in (link["url"], endless.json()["url"]):
            assert (await browser.get(url)).status_code == 404
        again = (await api.post(PATH, json={"customer_id": "c"})).json()
        assert again["expires"] == people.clock.now_ms() + 7 * 24 * HOUR_MS
        assert (await browser.get(again["url"])).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"customer_id": "nobody"}, 404),
        ({"customer_id": "c", "instance_id": "of-d"}, 400),
        ({"customer_id": "c", "expires": "never"}, 400),
        ({"customer_id": "c", "expires": "367d"}, 400),
        ({"customer_id": "c", "expires": "0s"}, 400),
        ({"customer_id": "c", "until": "7d"}, 400),
        ({}, 400),
    ],
)
async def test_refused(engine: Engine, redis: Redis, asked: dict[str, Any], status: int) -> None:
    """With the reason."""
    async with site(engine, redis) as people, admin(people) as api:
        reply = await api.post(PATH, json=asked)
        assert reply.status_code == status
        assert reply.json()["error"]["message"]


async def test_without_the_token(engine: Engine, redis: Redis) -> None:
    """Nobody makes or revokes links, and the public listener knows nothing of it."""
    async with site(engine, redis) as people, admin(people, "wrong") as api:
        for path in (PATH, f"{PATH}/revoke"):
            assert (await api.post(path, json={"customer_id": "c"})).status_code == 401
        async with people.browser() as browser:
            assert (await browser.post(PATH, json={"customer_id": "c"})).status_code == 404
