"""The page behind a link: a customer's own figures, and nothing of anybody else."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.key_terms import KeyAsked
from billing_sync.models import Instance, PackageUse, UsageWindow
from billing_sync.package_models import PackageTotal
from billing_sync.shown_limits import ShownLimit
from billing_sync.sites import public_site
from billing_sync.store.engine import writing
from metering.journal import Durability, Journal
from metering.keys import digest, pepper
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
from tests.billing_sync.books import HOUR, START
from tests.billing_sync.people_site import SECRET, PeopleSite, site
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """Pages; what they stand on is tried on each kind of database in store/."""
    return "sqlite"


ROTATE = {"links": {"rotate_keys": True}}
FOREIGN = ("987654", "of-d", "request-of-d", ">D<")


def used(engine: Engine, customer_id: str, instance_id: str, quantity: int, back: int = 0) -> None:
    """So many tokens in an hour, counted for the customer and charged to the instance."""
    with writing(engine) as session:
        for charged in ("", instance_id):
            session.add(
                UsageWindow(
                    window=HOUR - back,
                    customer_id=customer_id,
                    instance_id=charged,
                    route="chat",
                    meter="tokens_total",
                    grade="exact",
                    origin=HOUR - back,
                    partition=0,
                    quantity=quantity,
                )
            )


def served(journal: Path, customer_id: str, instance_id: str, request_id: str, tokens: int) -> None:
    """A call that ended at a gateway of this host."""
    durability = Durability(fsync="never", segment_bytes=1 << 16)
    lane = Journal(journal, f"lane-of-{request_id}", 1, durability, FakeClock(START))
    meters = {"requests": 1, "tokens_total": tokens}
    quantities = {name: Quantity(value, Grade.EXACT) for name, value in meters.items()}
    account = Account(customer_id, "chat", (Charge(instance_id, "tokens_total"),))
    lane.append(UsageRecord(request_id, START, account, 200, Outcome.COMPLETE, quantities))
    lane.close()


@pytest.fixture
async def people(engine: Engine, redis: Redis) -> AsyncIterator[PeopleSite]:
    async with site(engine, redis) as made:
        used(engine, "c", "i", 30_000)
        used(engine, "c", "i", 12_345, back=30)
        used(engine, "d", "of-d", 987_654)
        journal = made.parts.data_dir / "journal"
        served(journal, "c", "i", "request-of-c", 4242)
        served(journal, "d", "of-d", "request-of-d", 987_654)
        yield made


async def shown(people: PeopleSite, path: str, **headers: str) -> str:
    async with people.browser() as browser:
        reply = await browser.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.text


def totals(html: str) -> dict[str, str]:
    return dict(re.findall(r'data-total="([a-z_]+)">([^<]*)<', html))


async def test_own_usage(people: PeopleSite) -> None:
    """By hour and by day, with what was bought and the latest requests; of nobody else."""
    html = await shown(people, people.link())
    assert totals(html) == {"requests": "0", "tokens_total": "42,345"}
    assert "Customer C" in html
    assert "request-of-c" in html
    assert "4,242" in html
    assert "42.345" in html  # in billing units
    assert ">pack<" in html
    for foreign in FOREIGN:
        assert foreign not in html
    by_day = await shown(people, f"{people.link()}?by=day&meter=requests")
    assert totals(by_day) == totals(html)


async def test_in_chinese(people: PeopleSite) -> None:
    """As the browser asks."""
    html = await shown(people, people.link(), **{"Accept-Language": "zh-CN"})
    assert '<html lang="zh-Hans"' in html
    assert "您的用量" in html


async def test_one_instance(people: PeopleSite) -> None:
    """Of several: neither the others nor the customer's keys are shown."""
    html = await shown(people, people.link(instance_id="k"))
    assert totals(html) == {"requests": "0"}  # by which it is sold
    assert "request-of-c" not in html
    assert ">pack<" not in html
    assert "keys-heading" not in html
    assert "request-of-c" in await shown(people, people.link(instance_id="pack"))


async def test_a_package(people: PeopleSite, engine: Engine) -> None:
    """What is left of it, in billing units."""
    with writing(engine) as session:
        session.get_one(Instance, "pack").expires = START + 86_400_000
    html = await shown(people, people.link())
    assert "10 of 10 left" in html
    assert "Nothing was used of it" in html


async def test_how_long_a_package_lasts(people: PeopleSite, engine: Engine) -> None:
    """At the pace since it was bought, or of the last week."""
    given: dict[str, Any] = {"package_id": "pack", "instance_id": "i", "quantity": 5000}
    with writing(engine) as session:
        session.add(PackageUse(window=HOUR - 1, **given))
        session.add(PackageTotal(item="TOKENS", **given))
    html = await shown(people, people.link(instance_id="i"))
    assert "5 of 10 left" in html
    assert "Lasts about a day" in html


async def test_a_file(people: PeopleSite) -> None:
    """The same figures as CSV."""
    async with people.browser() as browser:
        reply = await browser.get(f"{people.link()}/usage.csv?by=day")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    lines = reply.text.splitlines()
    assert "2027-01-15T08:00:00Z,i,tokens_total,30000" in lines
    assert "2027-01-15T08:00:00Z,,tokens_total,30000" in lines
    assert not any("987654" in line or "of-d" in line for line in lines)


async def test_what_the_browser_is_told(people: PeopleSite) -> None:
    """Nothing foreign, nothing inline, nothing kept, and no address in a Referer."""
    async with people.browser() as browser:
        for path in (people.link(), "/usage/nothing", "/usage/debug", f"{people.link()}/usage.csv"):
            reply = await browser.get(path)
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert "unsafe" not in reply.headers["content-security-policy"]
            assert reply.headers["referrer-policy"] == "no-referrer"
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == "no-store"
            assert not re.findall(r'(?:src|href)="(?:https?:)?//', reply.text)
        html = (await browser.get(people.link())).text
        for asset in re.findall(r'(?:src|href)="(/usage/static/[^"]+)"', html):
            assert (await browser.get(asset)).status_code == 200


async def test_links_that_open_nothing(people: PeopleSite) -> None:
    """Forged, over, revoked, half: all look the same."""
    good = people.link()
    revoked = people.link(revision=1)
    over = people.link(expires=people.clock.now_ms() // 1000)
    forged = good[:-1] + ("A" if good[-1] != "A" else "B")
    async with people.browser() as browser:
        texts = {
            (
                (reply := await browser.get(path)).status_code,
                re.sub(r"/usage/[^?\"]*", "", reply.text),
            )
            for path in (revoked, over, forged, good[:-9], "/usage/x", "/usage/%ff%00.x")
        }
    assert len(texts) == 1
    assert texts.pop()[0] == 404


async def test_revoking(people: PeopleSite) -> None:
    """Holds from the next request on."""
    path = people.link()
    await shown(people, path)
    await people.control.linker.revoke("c")
    async with people.browser() as browser:
        assert (await browser.get(path)).status_code == 404
        assert (await browser.get(f"{path}/usage.csv")).status_code == 404
        assert (await browser.get(people.link("d"))).status_code == 200


async def test_an_example(people: PeopleSite) -> None:
    """What debugging requests are told is nobody's page."""
    html = await shown(people, "/usage/debug")
    assert "belongs to nobody" in html


async def test_too_often(people: PeopleSite) -> None:
    """One customer's haste is not another's; strangers are answered in few words."""
    public = public_site(people.control)
    transport = httpx.ASGITransport(public)
    async with httpx.AsyncClient(transport=transport, base_url="http://meter.test") as browser:
        codes = [(await browser.get(f"{people.link()}/usage.csv")).status_code for _ in range(61)]
        assert codes == [200] * 60 + [429]
        reply = await browser.get(people.link())
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        assert (await browser.get(people.link("d"))).status_code == 200
        strange = [(await browser.get("/usage/x")).status_code for _ in range(201)]
        assert strange == [404] * 200 + [429]
        people.clock.advance(seconds=2)
        assert (await browser.get(people.link())).status_code == 200


async def test_redis_away(people: PeopleSite, redis: Redis) -> None:
    """The ledger's figures, and it is said that they are."""
    await redis.flushall()
    html = await shown(people, people.link())
    assert totals(html)["tokens_total"] == "42,345"
    assert "cannot be added right now" in html


async def test_limits(engine: Engine, redis: Redis) -> None:
    """Those that hold for him."""

    def limits_of(customer_id: str) -> list[ShownLimit]:
        return [ShownLimit("concurrent", "77")] if customer_id == "c" else []

    async with site(engine, redis, limits_of=limits_of, quota_path="/-/quota") as people:
        html = await shown(people, people.link())
        assert "<dt>Calls at once</dt><dd>77</dd>" in html
        assert "/-/quota" in html
        assert "No limits are set" in await shown(people, people.link("d"))


CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


async def key_of(people: PeopleSite, customer_id: str) -> tuple[str, str]:
    ring = people.control.key_ring
    made = await ring.create(KeyAsked(customer_id, "laptop"))
    return made.row["id"], made.key


async def test_keys_are_shown_without_secrets(people: PeopleSite) -> None:
    """And links do not replace them unless the merchant allows it."""
    _, key = await key_of(people, "c")
    path = people.link()
    html = await shown(people, path)
    assert key[:9] in html
    assert key not in html
    assert digest(pepper(SECRET), key) not in html
    assert 'action="' not in html
    async with people.browser() as browser:
        reply = await browser.post(f"{path}/rotate", data={"key_id": "1", "csrf": "x"})
    assert reply.status_code == 400


async def test_replacing_a_key(engine: Engine, redis: Redis) -> None:
    """Where it is allowed: the new one is shown once; nobody else's key can be reached."""
    async with site(engine, redis, control=ROTATE) as people:
        mine, _ = await key_of(people, "c")
        theirs, _ = await key_of(people, "d")
        path = people.link()
        csrf = CSRF.findall(await shown(people, path))[0]
        async with people.browser() as browser:

            async def rotate(key_id: str, token: str = csrf, **headers: str) -> httpx.Response:
                data = {"key_id": key_id, "csrf": token}
                return await browser.post(f"{path}/rotate", data=data, headers=headers)

            assert (await rotate(theirs)).status_code == 409
            assert (await rotate(mine, "")).status_code == 400
            assert (await rotate(mine, **{"Sec-Fetch-Site": "cross-site"})).status_code == 400
            reply = await rotate(mine)
            assert reply.status_code == 200
            assert reply.headers["cache-control"] == "no-store"
            (key,) = re.findall(r"tg-[\w-]{43}", reply.text)
            assert (
                'href="?' not in reply.text
            )  # no link leads away from the only answer with the key
            refused = await rotate(mine)
            assert refused.status_code == 409  # it is replaced already
            assert 'href="?by=day"' in refused.text
            onward = await browser.get(f"{path}/rotate?by=day")
            assert (onward.status_code, onward.headers["location"]) == (303, f"{path}?by=day")
            again = (await browser.get(path)).text
        assert key not in again
        assert key[:9] in again
        limited = await shown(people, people.link(instance_id="i"))
        assert "rotate" not in limited


async def test_no_secret_in_the_log(people: PeopleSite, caplog: pytest.LogCaptureFixture) -> None:
    """Neither links nor keys."""
    caplog.set_level("DEBUG")
    path = people.link()
    await shown(people, path)
    async with people.browser() as browser:
        await browser.get(path[:-3])
    told = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("http"))
    assert path.rpartition("/")[2][:40] not in told
