"""Tenants over the operator's API: page by page, with the admin token, and without a secret."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync import tenant_api
from billing_sync.store.worker import SqlWorker
from tests.billing_sync.kit_marketplace import KitMarketplace, person

pytestmark = pytest.mark.anyio

PATH = "/api/v1/tenants"
TOKEN = {"Authorization": "Bearer t0ken"}


async def test_page_by_page(engine: Engine, tmp_path: Path) -> None:
    """Applications with their client, people and departments as numbers; deletions count at once."""
    market = KitMarketplace(engine, tmp_path)
    made = await market.settled()
    people = [person("li.na"), person("wang"), person("off", enable="false")]
    for app in ("a1", "a2"):
        await market.v2("applicationSync", appId=app)
        await market.v2("authSync", appId=app, userList=people)
    await market.v2("singleOrgSync")
    await market.v2("tenantSync", tenantId="t2", tenantCode="other")
    await market.v2("tenantSync", tenantId="t0", flag=0)
    served = Starlette(routes=tenant_api.routes(SqlWorker(engine), "t0ken"))
    transport = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as api:
        assert (await api.get(PATH)).status_code == 401
        first = (await api.get(f"{PATH}?limit=1", headers=TOKEN)).json()
        (tenant,) = first["data"]
        assert (tenant["instance_id"], tenant["tenant_id"]) == (made, "t1")
        assert (tenant["code"], tenant["users"], tenant["organisations"]) == ("acme", 2, 1)
        assert [each["app_id"] for each in tenant["apps"]] == ["a1", "a2"]
        second = (await api.get(f"{PATH}?limit=1&after={first['next']}", headers=TOKEN)).json()
        assert [each["code"] for each in second["data"]] == ["other"]
        whole = await api.get(PATH, headers=TOKEN)
        assert [each["tenant_id"] for each in whole.json()["data"]] == ["t1", "t2"]
        assert "secret" not in whole.text
        await market.v2("authSync", appId="a1", flag=0, userList=people)
        await market.v2("applicationSync", appId="a2", flag=0)
        reply = (await api.get(f"{PATH}?instance={made}", headers=TOKEN)).json()
        assert (reply["data"][0]["users"], reply["next"]) == (0, None)
        assert (await api.get(f"{PATH}?after=x", headers=TOKEN)).status_code == 400
        assert (await api.get(f"{PATH}?instance=none", headers=TOKEN)).json()["data"] == []
