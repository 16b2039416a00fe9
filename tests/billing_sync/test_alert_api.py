"""Alerts over HTTP: who may, what is listed, what is sent again."""

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.alert_api import AlertApi
from billing_sync.store import alert_deliveries as store
from billing_sync.store.engine import writing
from tests.billing_sync.books import Books
from tests.billing_sync.hooks import NOWHERE, deliveries, selling, states

pytestmark = pytest.mark.anyio

URL = "/api/v1/alerts"


@pytest.fixture
def books(engine: Engine) -> Books:
    books = selling(engine, NOWHERE)
    books.use("i", 9_500)
    return books


@pytest.fixture
async def api(books: Books) -> AsyncIterator[httpx.AsyncClient]:
    routes = AlertApi(books.engine, books.clock, [NOWHERE.name]).routes("t0ken")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=routes)),
        base_url="http://control",
        headers={"Authorization": "Bearer t0ken"},
    ) as client:
        yield client


async def test_what_was_raised_page_by_page(api: httpx.AsyncClient, books: Books) -> None:
    """With the figures of then, and what became of telling it."""
    first = (await api.get(f"{URL}?limit=1")).json()
    rest = (await api.get(f"{URL}?after={first['next']}")).json()
    assert rest["next"] is None
    rows = first["data"] + rest["data"]
    assert sorted(row["threshold"] for row in rows) == [80, 95]
    assert rows[0] == {
        "id": rows[0]["id"],
        "package_id": "pack",
        "item": "TOKENS",
        "threshold": rows[0]["threshold"],
        "customer_id": "cust-1",
        "product_id": "PACK",
        "quota": "10.0000",
        "used": "9.5000",
        "remaining": "0.5000",
        "percent": "95.0000",
        "expires": 0,
        "at": books.clock.now_ms(),
        "deliveries": [
            {
                "webhook": NOWHERE.name,
                "state": "pending",
                "attempts": 0,
                "next_attempt": books.clock.now_ms(),
                "sent_at": 0,
                "error": "",
            }
        ],
    }
    for query, count in [("customer=cust-1", 2), ("instance=pack", 2), ("state=sent", 0)]:
        assert len((await api.get(f"{URL}?{query}")).json()["data"]) == count


@pytest.mark.parametrize("query", ["state=lost", "after=nothing", "limit=0", "package=pack"])
async def test_a_question_that_cannot_be_answered(api: httpx.AsyncClient, query: str) -> None:
    """400, not an answer to another one."""
    reply = await api.get(f"{URL}?{query}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")


async def test_an_alert_is_sent_again(api: httpx.AsyncClient, books: Books) -> None:
    """What was given up is due now; what was delivered is not sent twice."""
    ids = {threshold: row.alert_id for threshold, row in deliveries(books.engine).items()}
    for threshold, state in [(80, "given_up"), (95, "sent")]:
        with writing(books.engine) as session:
            now_ms = books.clock.now_ms()
            due = store.claim(session, NOWHERE.name, now_ms=now_ms, until_ms=now_ms + 1)
            assert due is not None
            assert due.alert.threshold == threshold
            store.settle(session, due, state=state, error="HTTP 500")
    reply = await api.post(f"{URL}/{ids[80]}/retry")
    assert (reply.status_code, reply.json()) == (200, {"id": ids[80], "deliveries": 1})
    refused = await api.post(f"{URL}/{ids[95]}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "wrong_state")
    assert states(books.engine) == {80: "pending", 95: "sent"}


@pytest.mark.parametrize("name", ["alert_0", "%00", "a.b", "x" * 2000])
async def test_an_alert_that_nobody_knows(api: httpx.AsyncClient, name: str) -> None:
    """404."""
    reply = await api.post(f"{URL}/{name}/retry")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_alert")


@pytest.mark.parametrize(("method", "path"), [("GET", URL), ("POST", f"{URL}/alert_0/retry")])
async def test_without_the_token(api: httpx.AsyncClient, method: str, path: str) -> None:
    """401, whatever is asked."""
    reply = await api.request(method, path, headers={"Authorization": "Bearer t0ke"})
    assert reply.status_code == 401
