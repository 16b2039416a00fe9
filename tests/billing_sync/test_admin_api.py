"""The operator's API over HTTP: who may ask, what is answered, and what never is."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.admin_api import guarded, routes
from billing_sync.drain import Drainer
from billing_sync.key_models import ApiKey
from billing_sync.models import Instance, UsageRecord
from billing_sync.store import findings
from billing_sync.store.engine import open_engine, sqlite_url, writing
from billing_sync.store.stops import Stop
from billing_sync.usage_view import UsageView
from metering.catalogue import catalogue
from metering.counters import Counters
from metering.findings import Finding
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, HOUR, START, Books
from tests.billing_sync.lanes import Lane

pytestmark = pytest.mark.anyio

TOKEN = "t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARDED = [f"/api/v1/{name}" for name in ("usage", "instances", "packages", "records", "findings")]


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def client_of(books: Books, redis: Redis) -> httpx.AsyncClient:
    view = UsageView(books.engine, Counters(redis), CATALOGUE, 1, books.clock)
    app = Starlette(routes=routes(view, books.engine, CollectorRegistry(), TOKEN))
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://control", headers=BEARER)


@pytest.fixture
async def api(books: Books, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(books, redis) as client:
        yield client


async def answer(api: httpx.AsyncClient, url: str) -> Any:
    reply = await api.get(url)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "header", ["", "t0ken", "Bearer", "Bearer ", "Bearer t0ke", "Bearer t0kenn", "Basic t0ken"]
)
async def test_without_the_token_nothing_is_told(
    api: httpx.AsyncClient, path: str, header: str
) -> None:
    """401, and how to do it right."""
    reply = await api.get(path, headers={"Authorization": header})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.json()["error"]["code"] == "unauthorized"
    assert TOKEN not in reply.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_in_any_case(api: httpx.AsyncClient, scheme: str) -> None:
    """As RFC 9110 §11.1 has it."""
    reply = await api.get("/api/v1/usage", headers={"Authorization": f"{scheme} {TOKEN}"})
    assert reply.status_code == 200


async def never(_: Any) -> Any:
    raise AssertionError


def test_an_empty_token_is_none() -> None:
    """It would let everybody in."""
    with pytest.raises(ValueError, match="admin_token"):
        guarded(never, "")


async def test_usage(api: httpx.AsyncClient, books: Books) -> None:
    """The documented shape, from the ledger."""
    books.use("i", 7)
    books.use("", 7)
    found = await answer(api, "/api/v1/usage")
    assert found["data"] == [
        {
            "customer_id": "cust-1",
            "instance_id": "i",
            "meter": "tokens_total",
            "window_start": "2027-01-15T08:00:00Z",
            "quantity": 7,
        }
    ]
    assert found["total"] == {"tokens_total": "7"}


async def test_usage_is_live(api: httpx.AsyncClient, books: Books, redis: Redis) -> None:
    """What was counted a moment ago is in it, and it says so."""
    lane = Lane(redis)
    await Drainer(books.engine, Counters(redis), CATALOGUE, books.clock, books.ids).drain(0)
    await lane.count(0, 5)
    found = await answer(api, "/api/v1/usage")
    assert (found["total"], found["live"]) == ({"tokens_total": "5"}, True)


async def test_usage_filters(api: httpx.AsyncClient, books: Books) -> None:
    """By customer, instance, meter, time; grouped as asked."""
    books.use("", 1)
    books.use("", 2, customer_id="cust-2")
    books.use("i", 4)
    books.use("", 8, meter="requests")
    books.use("", 16, window=HOUR - 1)

    async def total(query: str) -> int:
        totals = (await answer(api, f"/api/v1/usage?{query}"))["total"]
        return sum(map(int, totals.values()))

    assert await total("") == 27
    assert await total("customer=cust-2") == 2
    assert await total("customer=nobody") == 0
    assert await total("instance=i") == 4
    assert await total("meter=requests") == 8
    assert await total("from=2027-01-15T08:00:00Z") == 11
    assert await total("to=2027-01-15T08:00:00Z") == 16
    found = await answer(api, "/api/v1/usage?by=customer")
    assert [(row["customer_id"], row["quantity"]) for row in found["data"]] == [
        ("cust-1", 25),
        ("cust-2", 2),
    ]


@pytest.mark.parametrize("path", GUARDED)
async def test_a_bad_parameter_is_named(api: httpx.AsyncClient, path: str) -> None:
    """400, not an answer to another question."""
    reply = await api.get(path, params={"colour": "red"})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "bad_request"
    assert "'colour'" in reply.json()["error"]["message"]


async def test_instances_page_by_page(api: httpx.AsyncClient, books: Books) -> None:
    """In the order of their ids; `next` leads on and is null at the end."""
    for number in range(5):
        books.buy(f"i{number}", customer_id=f"cust-{number % 2}")
    pages, after = [], ""
    while True:
        page = await answer(api, f"/api/v1/instances?limit=2{after}")
        pages.append([row["id"] for row in page["data"]])
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert pages == [["i0", "i1"], ["i2", "i3"], ["i4"]]
    mine = await answer(api, "/api/v1/instances?customer=cust-1")
    assert [row["id"] for row in mine["data"]] == ["i1", "i3"]
    (only,) = (await answer(api, "/api/v1/instances?instance=i2"))["data"]
    assert set(only) == {*Instance.model_fields, "remainders"}
    assert only["remainders"] == []


async def test_remainders_are_seen(api: httpx.AsyncClient, books: Books) -> None:
    """What is carried to the next record, in meter units, and how much of it stands in none yet."""
    products = [CATALOGUE["TOKENS"].model_copy(update={"unit": 30_000_000})]
    books.catalogue = catalogue(products)
    books.buy("i")
    books.use("i", 4321)
    books.to_the_next_hour()
    books.close()
    books.use("i", 7)
    books.to_the_next_hour()
    books.close()
    (row,) = (await answer(api, "/api/v1/instances"))["data"]
    assert row["remainders"] == [{"package_id": "", "quantity": "1328.0000", "waiting": 7}]


async def test_records_page_by_page(api: httpx.AsyncClient, books: Books) -> None:
    """Oldest first, also where several begin at the same time."""
    for name in ("i", "j", "k"):
        books.buy(name)
        books.use(name, 1000)
    books.cut()
    books.clock.advance(seconds=30)
    for name in ("i", "j"):
        books.use(name, 500)
    books.cut()
    seen, after = [], ""
    while True:
        page = await answer(api, f"/api/v1/records?limit=2{after}")
        seen += [(row["begin"], row["metering_sn"]) for row in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 5
    found = await answer(api, "/api/v1/records?instance=i&state=pending&customer=cust-1")
    assert [row["quantity"] for row in found["data"]] == [1000, 500]
    assert set(found["data"][0]) == set(UsageRecord.model_fields)
    assert (await answer(api, "/api/v1/records?state=sent"))["data"] == []
    assert (await api.get("/api/v1/records?after=nothing")).status_code == 400


async def test_keys_are_never_shown(api: httpx.AsyncClient, books: Books) -> None:
    """Neither digests nor sealed copies, in any answer."""
    books.buy("i")
    with writing(books.engine) as session:
        session.add(ApiKey(customer_id="cust-1", digest="d1gest", sealed="s3aled", created=1))
    for path in [*GUARDED, "/metrics", "/healthz"]:
        text = (await api.get(path)).text
        assert "d1gest" not in text
        assert "s3aled" not in text


async def test_health_and_metrics_need_no_token(api: httpx.AsyncClient) -> None:
    """They tell nothing about customers."""
    del api.headers["Authorization"]
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    reply = await api.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")


async def test_a_ledger_that_fails(redis: Redis, tmp_path: Path) -> None:
    """503 in JSON, without a stack trace; health goes on."""
    path = tmp_path / "broken.db"
    books = Books(open_engine(sqlite_url(path)))
    async with client_of(books, redis) as api:
        with books.engine.begin() as connection:
            for table in ("usage_window", "usage_record", "instance", "finding"):
                connection.exec_driver_sql(f"drop table {table}")
        for url in GUARDED:
            reply = await api.get(url)
            assert reply.status_code == 503
            assert reply.json()["error"]["code"] == "ledger_unavailable"
            assert "sqlite" not in reply.text.lower()
        assert (await api.get("/healthz")).status_code == 200
    books.engine.dispose()


async def test_what_is_not_there(api: httpx.AsyncClient) -> None:
    """Unknown paths and methods are refused as anywhere."""
    assert (await api.get("/api/v1/nothing")).status_code == 404
    assert (await api.post("/api/v1/usage")).status_code == 405


# --- findings, and health while billing is stopped -------------------------------------------


def found(number: int, **columns: Any) -> Finding:
    given: dict[str, Any] = {"kind": "uncertain", "lane": "a", "host": "h", "at": 1}
    given |= {"customer_id": "c", "request_id": f"r{number}", "started": number}
    return Finding(**(given | columns))


@pytest.fixture
def named(books: Books) -> list[Finding]:
    """Five findings in the ledger."""
    all_of_them = [
        found(0),
        found(1, lane="b"),
        found(2, customer_id="d"),
        found(3, kind="unexplained", partition=3, first=4, last=6),
        found(4),
    ]
    with writing(books.engine) as session:
        findings.insert(session, all_of_them)
    return all_of_them


async def test_findings_page_by_page(api: httpx.AsyncClient, named: list[Finding]) -> None:
    """In the order they came in, with all they say."""
    first = await answer(api, "/api/v1/findings?limit=3")
    rest = await answer(api, f"/api/v1/findings?limit=3&after={first['next']}")
    rows = first["data"] + rest["data"]
    assert [row["request_id"] for row in rows] == [f"r{n}" for n in range(5)]
    assert rest["next"] is None
    assert [row["identity"] for row in rows] == [each.identity for each in named]
    assert (rows[3]["partition"], rows[3]["first"], rows[3]["last"]) == (3, 4, 6)


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("kind=unexplained", [3]),
        ("kind=uncertain&lane=a&customer=c", [0, 4]),
        ("lane=b", [1]),
        ("request=r2", [2]),
        ("kind=lost_lane", []),
    ],
)
async def test_findings_of_a_kind(
    api: httpx.AsyncClient, named: list[Finding], asked: str, numbers: list[int]
) -> None:
    """By what they are about."""
    rows = (await answer(api, f"/api/v1/findings?{asked}"))["data"]
    assert [row["started"] for row in rows] == numbers


@pytest.mark.parametrize("asked", ["after=x", "after=-1", "after=9999999999999999999", "state=x"])
async def test_a_question_about_findings_that_makes_no_sense(
    api: httpx.AsyncClient, asked: str
) -> None:
    """Is answered with what is wrong with it."""
    reply = await api.get(f"/api/v1/findings?{asked}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")


async def test_health_says_when_billing_is_stopped(books: Books, redis: Redis) -> None:
    """The process is well: restarting it would not help."""
    view = UsageView(books.engine, Counters(redis), CATALOGUE, 1, books.clock)
    stop = Stop("restored", 1)
    app = Starlette(routes=routes(view, books.engine, CollectorRegistry(), TOKEN, lambda: stop))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as api:
        reply = await api.get("/healthz")
    assert reply.status_code == 200
    assert reply.json() == {
        "status": "ok",
        "billing": "stopped: restored; run `tallygate recover`",
    }


async def test_packages(api: httpx.AsyncClient, books: Books) -> None:
    """Quota, used, left and overshoot of each billing item, in billing units; page by page."""
    books.buy("i")
    books.buy("pack", "PACK", expires=START + HOUR_MS)
    books.buy("stop", "STOP", expires=START + 2 * HOUR_MS)
    books.buy("theirs", "PACK", customer_id="cust-2")
    books.use("i", 23_500)
    found = await answer(api, "/api/v1/packages?customer=cust-1&limit=1")
    assert found["next"] == "pack"
    (pack,) = found["data"]
    assert (pack["id"], pack["product_id"], pack["status"]) == ("pack", "PACK", "active")
    assert (pack["stop_before_excess"], pack["policy"]) == (False, None)
    (item,) = pack["items"]
    assert (item["product_id"], item["used_by"]) == ("TOKENS", {"i": "10.0000"})
    assert (item["quota"], item["used"], item["left"]) == ("10.0000", "10.0000", "0.0000")
    found = await answer(api, "/api/v1/packages?customer=cust-1&limit=9&after=pack")
    ((stop,), none) = found["data"], found["next"]
    assert (stop["id"], stop["policy"], none) == ("stop", "absorb", None)
    assert stop["items"][0]["overshoot"] == "3.5000"
    everyone = await answer(api, "/api/v1/packages")
    assert [row["id"] for row in everyone["data"]] == ["pack", "stop", "theirs"]
    one = await answer(api, "/api/v1/packages?instance=theirs")
    assert [row["customer_id"] for row in one["data"]] == ["cust-2"]
    assert (await api.get("/api/v1/packages?state=active")).status_code == 400


async def test_a_package_sold_no_more_is_listed(api: httpx.AsyncClient, books: Books) -> None:
    """With what it gave, for as long as anybody may ask."""
    books.buy("i")
    books.buy("pack", "PACK")
    books.use("i", 1000)
    books.change("pack", product_id="UNHEARD-OF")
    (row,) = (await answer(api, "/api/v1/packages"))["data"]
    assert [(item["quota"], item["used"]) for item in row["items"]] == [(None, "1.0000")]
