"""Corrections over HTTP: who may, what is answered, what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.correction_api import MAX_BODY, routes
from billing_sync.correction_models import Adjustment, Assignment
from tests.billing_sync.books import HOUR
from tests.billing_sync.correcting import Desk
from tests.billing_sync.pushing import log_of

pytestmark = pytest.mark.anyio

BEARER = {"Authorization": "Bearer t0ken"}
ADJUSTMENTS = "/api/v1/adjustments"
SUSPENSE = "/api/v1/suspense"
ASSIGN = "/api/v1/suspense/assign"
SAID = {"id": "a1", "instance_id": "i", "author": "li", "reason": "because"}


@pytest.fixture
def desk(engine: Engine) -> Desk:
    desk = Desk(engine)
    desk.books.buy("i")
    return desk


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=routes(desk.corrector, "t0ken")))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers=BEARER
    ) as client:
        yield client


async def get(api: httpx.AsyncClient, url: str) -> Any:
    reply = await api.get(url)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ADJUSTMENTS), ("POST", ADJUSTMENTS), ("GET", SUSPENSE), ("POST", ASSIGN)],
)
async def test_without_the_token_nothing_happens(
    api: httpx.AsyncClient, desk: Desk, method: str, path: str
) -> None:
    """401, whatever is asked."""
    reply = await api.request(
        method, path, headers={"Authorization": "Bearer t0ke"}, json={**SAID, "quantity": 5}
    )
    assert reply.status_code == 401
    assert desk.books.all(Adjustment) == []


async def test_an_adjustment_is_made_once(api: httpx.AsyncClient, desk: Desk) -> None:
    """201, then 200 with the same row, then 409 for another one under its id."""
    first = await api.post(ADJUSTMENTS, json={**SAID, "value": "-1.5"})
    again = await api.post(ADJUSTMENTS, json={**SAID, "quantity": -1500})
    other = await api.post(ADJUSTMENTS, json={**SAID, "quantity": 1500})
    assert [r.status_code for r in (first, again, other)] == [201, 200, 409]
    assert first.json() == again.json()
    assert first.json()["quantity"] == -1500
    assert other.json()["error"]["code"] == "refused"
    assert desk.carry() == desk.owed(-1500)


async def test_adjustments_page_by_page(api: httpx.AsyncClient, desk: Desk) -> None:
    """In the order they were made, also within one millisecond."""
    desk.books.buy("j", customer_id="cust-2")
    for number in range(5):
        desk.adjust(number + 1, id=f"a{number}", instance_id="ij"[number % 2])
        desk.books.clock.advance(ms=number % 2)
    first = await get(api, f"{ADJUSTMENTS}?limit=3")
    rest = await get(api, f"{ADJUSTMENTS}?limit=3&after={first['next']}")
    assert [row["quantity"] for row in first["data"] + rest["data"]] == [1, 2, 3, 4, 5]
    assert rest["next"] is None
    of_j = await get(api, f"{ADJUSTMENTS}?instance=j")
    assert [row["id"] for row in of_j["data"]] == ["a1", "a3"]
    assert await get(api, f"{ADJUSTMENTS}?customer=cust-2") == of_j
    assert (await api.get(f"{ADJUSTMENTS}?after=nothing")).status_code == 400


async def test_suspense_is_listed_and_assigned(api: httpx.AsyncClient, desk: Desk) -> None:
    """By customer and product, by hour if asked; what is assigned is no longer open."""
    desk.serve(30, window=HOUR - 1)
    desk.serve(70)
    desk.serve(5, customer_id="cust-2")
    found = await get(api, f"{SUSPENSE}?customer=cust-1")
    assert found == {
        "data": [
            {
                "customer_id": "cust-1",
                "product_id": "TOKENS",
                "route": "chat",
                "meter": "tokens_total",
                "first": HOUR - 1,
                "last": HOUR,
                "quantity": 100,
                "assigned": 0,
                "open": 100,
            }
        ],
        "next": None,
    }
    asked = {**SAID, "customer_id": "cust-1", "to": "2027-01-15T08:00:00Z"}
    reply = await api.post(ASSIGN, json=asked)
    assert (reply.status_code, reply.json()["quantity"]) == (201, 30)
    assert (await api.post(ASSIGN, json=asked)).status_code == 200
    (row,) = (await get(api, "/api/v1/suspense/assignments?instance=i"))["data"]
    assert (row["author"], row["parts"]) == ("li", f'[["TOKENS","chat","exact",{HOUR - 1},30]]')
    by_hour = await get(api, f"{SUSPENSE}?product=TOKENS&by=hour&from=2027-01-15T07:00:00Z&limit=2")
    assert [(row["first"], row["open"]) for row in by_hour["data"]] == [(HOUR - 1, 0), (HOUR, 70)]
    rest = await get(api, f"{SUSPENSE}?product=TOKENS&by=hour&after={by_hour['next']}&limit=2")
    assert [(row["customer_id"], row["open"]) for row in rest["data"]] == [("cust-2", 5)]
    nothing = await api.post(ASSIGN, json={**asked, "id": "s2"})
    assert nothing.status_code == 409
    assert "no suspense" in nothing.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id": "a"}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":1.5}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":true}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":"5"}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","value":1.5}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","value":"much"}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","value":"' + b"1" * 99 + b'"}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":1,"colour":"red"}',
        b'{"id":"\xff","instance_id":"i","author":"l","reason":"r","quantity":1}',
        b" " * (MAX_BODY + 1),
    ],
)
async def test_a_body_that_is_none(api: httpx.AsyncClient, desk: Desk, body: bytes) -> None:
    """400, and nothing is adjusted: no number of JSON becomes money by way of a float."""
    reply = await api.post(ADJUSTMENTS, content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")
    assert desk.books.all(Adjustment) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":' + b"9" * 30 + b"}",
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","quantity":' + b"9" * 5000 + b"}",
        b'{"id":"a","instance_id":"i","author":"l","reason":"r","value":"1e999999"}',
        b'{"id":"a","instance_id":"i","author":"l","reason":"\\u0000","quantity":1}',
        b'{"id":"a","instance_id":"nobody","author":"l","reason":"r","quantity":1}',
    ],
)
async def test_what_makes_no_sense(api: httpx.AsyncClient, desk: Desk, body: bytes) -> None:
    """Is answered with what is wrong with it."""
    reply = await api.post(ADJUSTMENTS, content=body)
    assert reply.status_code in (400, 409)
    assert desk.books.all(Adjustment) == []


@pytest.mark.parametrize(
    "query",
    ["by=day", "after=x", "after=-1", "limit=0", "state=x", "from=yesterday", "by=hour&by="],
)
async def test_a_question_that_cannot_be_answered(api: httpx.AsyncClient, query: str) -> None:
    """400, not an answer to another one."""
    assert (await api.get(f"{SUSPENSE}?{query}")).status_code == 400


async def test_times_that_are_none(api: httpx.AsyncClient, desk: Desk) -> None:
    """Nothing is assigned by a guess."""
    desk.serve(5)
    reply = await api.post(ASSIGN, json={**SAID, "customer_id": "cust-1", "from": "noon"})
    assert reply.status_code == 400
    assert desk.books.all(Assignment) == []


async def test_a_push_log_that_cannot_be_written(api: httpx.AsyncClient, desk: Desk) -> None:
    """503: nothing was adjusted, and the same call may be made again."""
    folder = log_of(desk.books.engine).folder
    folder.write_text("in the way")
    reply = await api.post(ADJUSTMENTS, json={**SAID, "quantity": 5})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "push_log_unavailable")
    folder.unlink()
    assert (await api.post(ADJUSTMENTS, json={**SAID, "quantity": 5})).status_code == 201
