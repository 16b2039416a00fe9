"""The document of the operator's API, held against its routes and its handlers."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from starlette.routing import Route

from billing_sync.api_operations import operations
from billing_sync.app import Control
from billing_sync.openapi import PATH, document
from billing_sync.sites import admin_site
from tests.billing_sync.test_app import TOKEN, parts_of

pytestmark = pytest.mark.anyio

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def control(engine: Engine, redis: Redis) -> AsyncIterator[Control]:
    async with httpx.AsyncClient() as http:
        yield Control(parts_of(engine, redis, http))


@pytest.fixture
async def api(control: Control) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(admin_site(control))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        yield client


@pytest.fixture
def database_kind() -> str:
    """What is asked here does not reach the SQL."""
    return "sqlite"


def served(control: Control) -> Iterator[tuple[str, str]]:
    """Method and path of every call of the API that the admin listener takes."""
    for route in admin_site(control).routes:
        assert isinstance(route, Route)
        if route.path.startswith("/api/") and route.path != PATH:
            path = re.sub(r":\w+}", "}", route.path)
            yield from ((each, path) for each in (route.methods or {"GET"}) - {"HEAD"})


async def test_every_call_stands_in_the_document(control: Control) -> None:
    """And nothing else does."""
    described = [(call.method, call.path) for call in operations()]
    assert len(set(described)) == len(described)
    assert set(described) == set(served(control))


async def test_it_is_shown_to_whoever_has_the_token(api: httpx.AsyncClient) -> None:
    """As it is made here."""
    assert (await api.get(PATH)).status_code == 401
    reply = await api.get(PATH, headers=BEARER)
    assert (reply.status_code, reply.json()) == (200, document())


async def test_without_the_token_nothing_is_told(api: httpx.AsyncClient) -> None:
    """Whatever is called."""
    for call in operations():
        path = re.sub("{.*?}", "x", call.path)
        for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}):
            reply = await api.request(call.method, path, headers=header)
            assert reply.status_code == 401, (call.method, path)


async def test_what_is_not_served_is_told_alike(api: httpx.AsyncClient) -> None:
    """As errors of the API below it, in plain words elsewhere."""
    reply = await api.get("/api/v1/nothing", headers=BEARER)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    reply = await api.patch("/api/v1/keys", headers=BEARER)
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) >= {"GET", "HEAD"}
    assert (await api.get("/nothing")).text == "Not Found"


async def test_parameters_are_those_that_are_taken(api: httpx.AsyncClient) -> None:
    """What a handler says it knows is what the document says."""
    asked = [call for call in operations() if call.parameters]
    assert len(asked) > 8
    for call in asked:
        reply = await api.get(call.path, params={"colour": "red"}, headers=BEARER)
        assert reply.status_code == 400
        told = reply.json()["error"]["message"].partition("known are ")[2]
        assert told.split(", ") == list(call.parameters), call.path


def test_every_schema_that_is_named_is_there() -> None:
    """No reference leads to nothing, and no two calls have one name."""
    made = document()
    named = set(re.findall(r"#/components/schemas/(\w+)", str(made)))
    assert named <= set(made["components"]["schemas"])
    assert set(made["components"]["schemas"]) <= named
    calls = [call for methods in made["paths"].values() for call in methods.values()]
    assert len({call["operationId"] for call in calls}) == len(calls)
