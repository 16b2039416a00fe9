"""The operator's API for single records: who may decide, what is answered, what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.record_api import RecordApi
from billing_sync.store.engine import writing
from tests.billing_sync.books import START
from tests.billing_sync.pushing import log_of
from tests.billing_sync.test_outbox import one, record
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

SAID = {"author": "ann", "reason": "it is right"}


@pytest.fixture
async def api(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    with writing(engine) as session:
        session.add(record("r0", state="held"))
        session.add(record("r1", state="rejected", code="MKT.9001"))
    routes = RecordApi(engine, log_of(engine), FakeClock(START), Ids("act")).routes("t0ken")
    transport = httpx.ASGITransport(Starlette(routes=routes))
    headers = {"Authorization": "Bearer t0ken"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers=headers
    ) as client:
        yield client


async def test_decided_and_shown(api: httpx.AsyncClient, engine: Engine) -> None:
    """The record as it is now, and who decided what."""
    reply = await api.post("/api/v1/records/r0/release", json=SAID)
    assert (reply.status_code, reply.json()["record"]["state"]) == (200, "pending")
    assert one(engine, "r0").state == "pending"
    shown = (await api.get("/api/v1/records/r0")).json()
    assert shown["record"]["metering_sn"] == "r0"
    (act,) = shown["acts"]
    assert (act["act"], act["author"], act["reason"]) == ("release", "ann", "it is right")


@pytest.mark.parametrize(
    ("serial", "act", "state"), [("r0", "reject", "rejected"), ("r1", "retry", "pending")]
)
async def test_the_other_acts(api: httpx.AsyncClient, serial: str, act: str, state: str) -> None:
    """Each has its address."""
    reply = await api.post(f"/api/v1/records/{serial}/{act}", json=SAID)
    assert reply.json()["record"]["state"] == state


async def test_without_the_token(api: httpx.AsyncClient, engine: Engine) -> None:
    """Nobody decides, and nobody looks."""
    for header in ("", "Bearer wrong"):
        given: dict[str, Any] = {"headers": {"Authorization": header}}
        assert (await api.get("/api/v1/records/r0", **given)).status_code == 401
        reply = await api.post("/api/v1/records/r0/release", json=SAID, **given)
        assert reply.status_code == 401
    assert one(engine, "r0").state == "held"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b'{"author":1,"reason":"x"}', b'{"author":"a"}', b"[" * 4000,
     b'{"author":"a","reason":"b","force":"yes"}', b'{"author":"a","reason":"' + b"x" * 5000 + b'"}'],
    ids=range(9),
)  # fmt: skip
async def test_a_bad_body(api: httpx.AsyncClient, engine: Engine, body: bytes) -> None:
    """400, and what is wrong; nothing is done."""
    reply = await api.post("/api/v1/records/r0/release", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")
    assert one(engine, "r0").state == "held"


async def test_impossible(api: httpx.AsyncClient) -> None:
    """404 for a stranger, 409 for the wrong state, 405 for what only POST does."""
    for stranger in ("x", "%00", "x" * 5000):
        assert (await api.get(f"/api/v1/records/{stranger}")).status_code == 404
        reply = await api.post(f"/api/v1/records/{stranger}/retry", json=SAID)
        assert reply.status_code == 404
    reply = await api.post("/api/v1/records/r1/release", json=SAID)
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "wrong_state")
    assert (await api.get("/api/v1/records/r1/retry")).status_code == 405


async def test_a_log_that_cannot_be_written(api: httpx.AsyncClient, engine: Engine) -> None:
    """503: try again when the disk is well; nothing was done."""
    log_of(engine).folder.write_text("in the way")
    reply = await api.post("/api/v1/records/r0/release", json=SAID)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "push_log_unavailable")
    assert one(engine, "r0").state == "held"
