"""The ten interfaces of a joint-operation product, repeatedly, concurrently and in random order with
unchanged parameters, over real HTTP: every reply is 000000, and the state is that of a plain model."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.callbacks import SERVING
from billing_sync.models import Instance
from billing_sync.store.engine import reading
from billing_sync.store.kit_access import access_of
from tests.billing_sync.kit_marketplace import (
    KIT_KEY,
    KitMarketplace,
    beijing,
    encrypted,
    packed,
    person,
    x_sign,
)
from tests.billing_sync.kit_model import Model, stored
from tests.billing_sync.marketplace import sign
from tests.billing_sync.v1_marketplace import stamp, token
from tests.servers import serving

pytestmark = pytest.mark.anyio

AT_ONCE = 8
APPS, USERS, ORGS = ("a1", "a2"), ("li.na", "wang", "zhao"), ("o1", "o2", "o3")


@dataclass(frozen=True)
class Call:
    """One of the ten: its parameters never change, only what proves that it is made now."""

    name: str
    body: dict[str, Any]
    version: int = 2

    @property
    def is_base(self) -> bool:
        return not self.name.endswith("Sync")


@pytest.fixture
def market(engine: Engine, tmp_path: Path) -> KitMarketplace:
    return KitMarketplace(engine, tmp_path)


@pytest.fixture
async def http(market: KitMarketplace) -> AsyncIterator[httpx.AsyncClient]:
    """The real application behind a real server."""
    with serving(market.app, **SERVING) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client


async def send(market: KitMarketplace, http: httpx.AsyncClient, call: Call) -> dict[str, Any]:
    """As the marketplace does."""
    now, nonce = str(market.clock.now_ms()), secrets.token_hex(16)
    raw = packed(call.body)
    if call.is_base and call.version == 2:
        proof = {"signature": sign(raw, int(now), nonce), "timestamp": now, "nonce": nonce}
        reply = await http.post("/koogallery", params=proof, content=raw)
    elif call.is_base:
        known = call.body | {"authToken": token(call.body)}
        reply = await http.get("/koogallery", params=known)
    elif call.version == 2:
        proof = {"x-sign": x_sign(raw, now, nonce), "x-timestamp": now, "x-nonce": nonce}
        path = f"/koogallery/produceAPI/v2/{call.name}"
        reply = await http.post(path, content=raw, headers=proof)
    else:
        texts = {name: str(value) for name, value in call.body.items()}
        proof = {"authToken": token(texts, KIT_KEY)}
        reply = await http.post(f"/koogallery/produceAPI/{call.name}", content=raw, headers=proof)
    assert reply.status_code == 200
    answer: dict[str, Any] = reply.json()
    return answer


async def send_all(
    market: KitMarketplace, http: httpx.AsyncClient, dice: Random, calls: list[Call]
) -> None:
    """Each of them three times, shuffled, several at once; every reply is a success."""
    waiting = calls * 3
    dice.shuffle(waiting)

    async def worker() -> None:
        while waiting:
            call = waiting.pop()
            answer = await send(market, http, call)
            assert answer["resultCode"] == "000000", (call, answer)

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(worker)


def base_v2(order_id: str, instance_id: str, *, release: bool, **more: str) -> list[Call]:
    """The five base interfaces of V2.0."""
    order = {"orderId": order_id, "orderLineId": f"{order_id}-000001"}
    one = {"instanceId": instance_id}
    refresh = {"scene": "RENEWAL", "expireTime": "20300101000000", **order, **one}
    bodies: list[dict[str, Any]] = [
        {"activity": "newInstance", "businessId": "b", **order},
        {"activity": "queryInstance", **one},
        {"activity": "refreshInstance", **refresh},
        {"activity": "updateInstanceStatus", "status": "FREEZE", **one},
    ]
    if release:
        bodies.append({"activity": "releaseInstance", **one})
    return [Call(body["activity"], body | more) for body in bodies]


def base_v1(order_id: str, instance_id: str, at: int, *, release: bool, **more: str) -> list[Call]:
    """The five of V1.0; the renewal is older than the expiry."""
    one = {"instanceId": instance_id, "orderId": order_id}
    bought = {"customerId": "cust-1", "productId": "TOKENS", "businessId": "b", "orderId": order_id}
    bodies = [
        {"activity": "newInstance", **bought},
        {"activity": "queryInstance", **one},
        {"activity": "refreshInstance", "expireTime": "20300101000000", **one, "orderId": "R1"},
        {"activity": "expireInstance", **one},
    ]
    if release:
        bodies.append({"activity": "releaseInstance", **one})
    return [
        Call(body["activity"], body | {"timeStamp": stamp(at + number)} | more, version=1)
        for number, body in enumerate(bodies)
    ]


def kit_calls(dice: Random, instance_id: str, now: int, size: int) -> list[Call]:
    """Some of each of the five, of the last hour; V1.0 sends lists as strings and lacks some flags."""
    calls = []
    for number, ago in enumerate(dice.sample(range(3_600_000), size)):
        sync = ("tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync")[
            number % 5
        ]
        body = kit_body(dice, sync, beijing(now - ago), number) | {"instanceId": instance_id}
        version = dice.choice((1, 2))
        if (sync, body.get("flag")) in (("tenantSync", 2), ("authSync", 3)):
            version = 2
        calls.append(Call(sync, body, version))
    return calls


def kit_body(dice: Random, sync: str, at: str, number: int) -> dict[str, Any]:
    """One body with a random flag, mostly an addition."""
    flag = dice.choices((0, 1, 2, 3), (2, 8, 3, 1))[0]
    common = {"tenantId": dice.choice(("t1", "t1", "t2")), "testFlag": 0, "timeStamp": at}
    text = f"{sync} {number}"
    own: dict[str, Any]
    match sync:
        case "tenantSync":
            own = {"orderId": "CS", "tenantCode": text, "name": text, "domainName": "https://x"}
        case "applicationSync":
            own = {"clientId": text, "clientSecret": encrypted(text), "appId": dice.choice(APPS)}
        case "authSync":
            people = [
                person(name, name=text, enable=dice.choice(("true", "true", "false")))
                for name in dice.sample(USERS, dice.randint(1, 3))
            ]
            own = {"appId": dice.choice(APPS), "currentSyncTime": at, "userList": people}
            return common | own | {"flag": flag}
        case "singleOrgSync":
            own = {"orgCode": dice.choice(ORGS), "orgName": text, "parentCode": ""}
        case _:
            some = dice.sample(ORGS, dice.randint(0, 3))
            tree = [{"orgCode": org, "orgName": text, "parentCode": "o1"} for org in some]
            return common | {"orgInfoList": tree}
    return common | own | {"flag": min(flag, 2)}


def on_the_wire(call: Call) -> Call:
    """Lists as the strings that V1.0 sends, and some pages of V2.0 too."""
    lists = {name: json.dumps(v) for name, v in call.body.items() if isinstance(v, list)}
    return Call(call.name, call.body | lists if call.version == 1 else call.body, call.version)


def status_of(engine: Engine, instance_id: str) -> str:
    with reading(engine) as session:
        return session.exec(select(Instance.status).where(Instance.id == instance_id)).one()


def check(engine: Engine, model: Model, instance_id: str, *, serves: bool) -> None:
    """The ledger and what every person may see are as the model says."""
    with reading(engine) as session:
        assert stored(session, instance_id) == model
        for tenant in ("t1", "t2"):
            for app in APPS:
                for user in USERS:
                    found = access_of(session, tenant, app, user)
                    sees = serves and model.sees((instance_id, tenant, app, user))
                    assert bool(found and found.instance_ids == (instance_id,)) == sees


@pytest.mark.parametrize("version", [1, 2])
async def test_real_orders(
    market: KitMarketplace, http: httpx.AsyncClient, engine: Engine, version: int
) -> None:
    """An instance that gives service, and one that is frozen; then both are released among the rest."""
    dice, now = Random(version), market.clock.now_ms()
    made = await market.bought("CS1")
    frozen = await (market.v1_bought("CS2") if version == 1 else market.bought("CS2"))
    market.clock.advance(seconds=1)
    calls = kit_calls(dice, made, now, 40)
    model = Model.of([(call.name, call.body) for call in calls])
    wire = [*map(on_the_wire, calls), *base_v2("CS1", made, release=False)[:3]]
    await send_all(market, http, dice, [*wire, *base(version, frozen, now, release=False)])
    check(engine, model, made, serves=True)
    assert (status_of(engine, made), status_of(engine, frozen)) == ("active", "frozen")
    market.clock.advance(seconds=1)
    ending = [*base(version, frozen, now, release=True), base_v2("CS1", made, release=True)[-1]]
    await send_all(market, http, dice, [*wire, *ending])
    check(engine, model, made, serves=False)
    assert (status_of(engine, made), status_of(engine, frozen)) == ("released", "released")


def base(version: int, instance_id: str, now: int, *, release: bool) -> list[Call]:
    """The five of the version that it was bought with: V1.0 knows no order lines."""
    if version == 1:
        return base_v1("CS2", instance_id, now, release=release)
    return base_v2("CS2", instance_id, release=release)


async def test_debugging(market: KitMarketplace, http: httpx.AsyncClient, engine: Engine) -> None:
    """The saved cases of all ten, of both versions: nothing is written, whatever was there."""
    dice, now = Random(3), market.clock.now_ms()
    made = await market.settled()
    with reading(engine) as session:
        before = stored(session, made)
    cases = [
        Call(c.name, c.body | {"testFlag": 1}, c.version) for c in kit_calls(dice, made, now, 40)
    ]
    cases += [Call(c.name, c.body | {"instanceId": "nobody"}, c.version) for c in cases]
    cases += base_v2("MOCKONDEMAND", "nobody", release=True, testFlag="1")
    cases += base_v1("MOCKONDEMAND", made, now, release=True, testFlag="1")
    await send_all(market, http, dice, [on_the_wire(case) for case in cases])
    with reading(engine) as session:
        assert stored(session, made) == before
        assert len(session.exec(select(Instance)).all()) == 1
    assert status_of(engine, made) == "active"
