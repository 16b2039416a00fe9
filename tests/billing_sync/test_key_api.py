"""The operator's API for keys: what is answered and refused, and that a key is shown once."""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync import key_api
from billing_sync.key_making import KeyMaker
from billing_sync.key_ring import KeyRing
from billing_sync.models import CustomerRow
from billing_sync.store import keys as store
from billing_sync.store.customers import ConfiguredKey, StaticCustomer
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import snapshots
from billing_sync.store.worker import SqlWorker
from metering import keys
from tests.billing_sync.books import START
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

SECRET = b"installation secret"
STATIC = [StaticCustomer("s", "S", [], [ConfiguredKey("cabc", "laptop", START + 1, ["chat"])])]
PATH = "/api/v1/keys"


@pytest.fixture
def told() -> list[bool]:
    """One for each time that the projector was woken."""
    return []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def api(
    engine: Engine, told: list[bool], clock: FakeClock
) -> AsyncIterator[httpx.AsyncClient]:
    with writing(engine) as session:
        session.add_all([CustomerRow(id="c", name="C"), CustomerRow(id="d")])
    maker = KeyMaker(SECRET, os.urandom)
    ring = KeyRing(SqlWorker(engine), maker, clock, STATIC, lambda: told.append(True))
    transport = httpx.ASGITransport(Starlette(routes=key_api.routes(ring, "t0ken")))
    headers = {"Authorization": "Bearer t0ken"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers=headers
    ) as client:
        yield client


def digests(engine: Engine, customer_id: str = "c") -> dict[str, str]:
    """What the gateways know the customer's keys by."""
    with reading(engine) as session:
        (snapshot,) = snapshots(session, [customer_id])
        return {key.key_id: key.digest for key in snapshot.keys}


async def created(api: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    reply = await api.post(PATH, json={"customer_id": "c", **said})
    assert reply.status_code == 201, reply.text
    row: dict[str, Any] = reply.json()
    return row


async def test_a_key_is_shown_once(
    api: httpx.AsyncClient, engine: Engine, told: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    """In an answer nobody may keep; what gateways know of it is its keyed hash."""
    caplog.set_level("INFO")
    reply = await api.post(PATH, json={"customer_id": "c", "name": "laptop", "expires": "1h"})
    row = reply.json()
    key = row.pop("key")
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    assert digests(engine) == {row["id"]: keys.digest(keys.pepper(SECRET), key)}
    listed = (await api.get(PATH)).json()
    assert listed["data"] == [row]
    assert (row["shown"], row["status"], row["expires"]) == (
        f"{key[:9]}…",
        "active",
        START + 3_600_000,
    )
    assert told == [True]
    assert "key 1 of customer c was made" in caplog.text
    for text in (json.dumps(listed), caplog.text):
        assert key not in text
        assert digests(engine)[row["id"]] not in text


async def test_rotated(api: httpx.AsyncClient, engine: Engine, clock: FakeClock) -> None:
    """Both are good until the overlap is over; the list says which is which."""
    old = await created(api, routes=["chat"])
    reply = await api.post(f"{PATH}/{old['id']}/rotate", json={"overlap": "90m"})
    new = reply.json()
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    assert new["key"] != old["key"]
    assert new["routes"] == ["chat"]
    assert len(digests(engine)) == 2

    async def statuses() -> list[str]:
        return [row["status"] for row in (await api.get(PATH)).json()["data"]]

    assert await statuses() == ["replaced", "active"]
    clock.advance(seconds=90 * 60)
    assert await statuses() == ["expired", "active"]
    again = await api.post(f"{PATH}/{old['id']}/rotate")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "refused")
    assert (await api.post(f"{PATH}/{new['id']}/rotate")).status_code == 201  # without a body


@pytest.mark.parametrize("way", ["DELETE", "POST"])
async def test_revoked(api: httpx.AsyncClient, engine: Engine, told: list[bool], way: str) -> None:
    """Twice is once."""
    row = await created(api)
    with writing(engine) as session:
        store.take_in(session, {row["id"]: START - 5}, START)
    path = f"{PATH}/{row['id']}" + ("/revoke" if way == "POST" else "")
    answers = [await api.request(way, path) for _ in range(2)]
    assert [reply.json()["last_used"] for reply in answers] == [START - 5] * 2
    assert [reply.json()["status"] for reply in answers] == ["revoked"] * 2
    assert digests(engine) == {}
    assert len(told) >= 2


async def test_listed_by_customer_and_page(api: httpx.AsyncClient, engine: Engine) -> None:
    """Those of the configuration beside the first page, with their last use."""
    for customer_id in ("c", "c", "d"):
        await created(api, customer_id=customer_id)
    with writing(engine) as session:
        store.take_in(session, {"1": START - 5, "cabc": START - 7}, START)
    first = (await api.get(PATH, params={"limit": 2})).json()
    assert [row["last_used"] for row in first["data"]] == [START - 5, 0]
    assert [(row["id"], row["last_used"], row["status"]) for row in first["configured"]] == [
        ("cabc", START - 7, "active")
    ]
    rest = (await api.get(PATH, params={"limit": 2, "after": first["next"]})).json()
    assert [row["customer_id"] for row in rest["data"]] == ["d"]
    assert (rest["next"], rest["configured"]) == (None, [])
    mine = (await api.get(PATH, params={"customer": "c"})).json()
    assert (len(mine["data"]), mine["configured"]) == (2, [])


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"[" * 5000, b'{"customer_id": 1}', b'{"customer_id": ""}',
     b'{"customer_id": "c", "key": "mine"}', b'{"customer_id": "c", "expires": "soon"}',
     b'{"customer_id": "c", "routes": ["\\u0000"]}', b'{"customer_id": "\\u0000"}',
     b'{"customer_id": "c", "name": "' + b"x" * 9000 + b'"}'],
    ids=range(12),
)  # fmt: skip
async def test_a_bad_body(api: httpx.AsyncClient, engine: Engine, body: bytes) -> None:
    """400, and what is wrong; nothing is made."""
    reply = await api.post(PATH, content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")
    assert digests(engine) == {}


async def test_impossible(api: httpx.AsyncClient) -> None:
    """404 for strangers, 409 for keys of the configuration."""
    reply = await api.post(PATH, json={"customer_id": "nobody"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_customer")
    for key_id in ("7", "x", "%00", "9" * 30, "٣"):
        for reply in (
            await api.post(f"{PATH}/{key_id}/rotate"),
            await api.delete(f"{PATH}/{key_id}"),
        ):
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_key")
    reply = await api.delete(f"{PATH}/cabc")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "refused")
    assert (await api.get(PATH, params={"status": "x"})).status_code == 400


async def test_without_the_token(api: httpx.AsyncClient, engine: Engine) -> None:
    """Nobody makes a key, and nobody looks."""
    row = await created(api)
    given: dict[str, Any] = {"headers": {"Authorization": "Bearer wrong"}}
    path = f"{PATH}/{row['id']}"
    for reply in (
        await api.get(PATH, **given),
        await api.post(PATH, json={"customer_id": "c"}, **given),
        await api.post(f"{path}/rotate", **given),
        await api.post(f"{path}/revoke", **given),
        await api.delete(path, **given),
    ):
        assert reply.status_code == 401
    assert len(digests(engine)) == 1
