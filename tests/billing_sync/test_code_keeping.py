"""Authorization codes: what the marketplace does to them, in any order and however often (spec §4.2)."""

import calendar
import random
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.code_keeping import CodeDesk
from billing_sync.koogallery.error_codes import Kind
from billing_sync.koogallery.licence_codes import CodeStanding
from billing_sync.licence_models import LicenceCode
from billing_sync.models import LifecycleInbox
from billing_sync.store.engine import reading, writing
from billing_sync.store.worker import SqlWorker
from tests.billing_sync.licensing import KEEPER, Shop

pytestmark = pytest.mark.anyio

SAID = CodeStanding(Kind.ACCEPTED, "92020000", "", "ALIVE", 1_800_000_000_000, "CODE", "CS1", "1")


def known(engine: Engine) -> list[LicenceCode]:
    with reading(engine) as session:
        return list(session.exec(select(LicenceCode)))


async def learn(shop: Shop, code: str = "PL-SECRET") -> None:
    """The code is activated here."""
    desk = CodeDesk(SqlWorker(shop.engine), KEEPER, shop.clock)
    await desk.learn(code, SAID, activated=True)
    shop.clock.advance(seconds=1)


def call(what: str, *, order: str = "r1", expires: str = "20300101000000") -> dict[str, str]:
    """The body of a call about the code."""
    if what == "refresh":
        return {
            "activity": "refreshLicenseCode",
            "scene": "RENEWAL",
            "orderId": order,
            "orderLineId": f"{order}-1",
            "expireTime": expires,
        }
    if what == "release":
        return {"activity": "releaseLicenseCode"}
    return {"activity": "updateLicenseCodeStatus", "status": what}


async def code(shop: Shop, what: str, licence: str = "PL-SECRET", **more: str) -> str:
    """One call now; the result code."""
    body: dict[str, Any] = call(what, **more)
    return str((await shop.call(body.pop("activity"), license=licence, **body))["resultCode"])


async def test_a_life(engine: Engine) -> None:
    """Activated, renewed, frozen, unfrozen, released; each call again changes nothing."""
    shop = Shop(engine)
    await learn(shop)
    for what, status in [
        ("refresh", "active"),
        ("FREEZE", "frozen"),
        ("UNFREEZE", "active"),
        ("release", "released"),
    ]:
        shop.clock.advance(seconds=1)
        assert await code(shop, what) == "000000"
        assert await code(shop, what) == "000000"
        assert [row.status for row in known(engine)] == [status]
    (row,) = known(engine)
    assert row.expires == 1_893_456_000_000
    assert (row.product_id, row.order_id, row.shown, row.sealed) == ("CODE", "CS1", "PL-S…", "")
    shop.clock.advance(seconds=1)
    assert await code(shop, "UNFREEZE") == "000003"
    assert await code(shop, "release") == "000000"


async def test_codes_that_nobody_knows(engine: Engine) -> None:
    """000003, unless the shop takes them from the calls."""
    shop = Shop(engine)
    for what in ("refresh", "FREEZE", "release"):
        assert await code(shop, what, "PL-OTHER") == "000003"
    assert known(engine) == []
    lenient = Shop(engine, unknown_codes="accept")
    assert await code(lenient, "FREEZE", "PL-OTHER") == "000000"
    (row,) = known(engine)
    assert (row.status, row.activated) == ("frozen", 0)


async def test_the_same_renewal_counts_once(engine: Engine) -> None:
    """Known by its order line; a later repeat of an earlier order takes nothing back."""
    shop = Shop(engine)
    await learn(shop)
    assert await code(shop, "refresh", order="r1", expires="20300101000000") == "000000"
    shop.clock.advance(seconds=1)
    assert await code(shop, "refresh", order="r2", expires="20310101000000") == "000000"
    shop.clock.advance(seconds=1)
    assert await code(shop, "refresh", order="r1", expires="20300101000000") == "000000"
    assert known(engine)[0].expires == 1_924_992_000_000


async def test_the_code_is_nowhere_in_plain(engine: Engine) -> None:
    """Not in its row, nor in the inbox."""
    shop = Shop(engine)
    await learn(shop)
    await code(shop, "refresh")
    with reading(engine) as session:
        inbox = [row.model_dump_json() for row in session.exec(select(LifecycleInbox))]
    assert len(inbox) == 1
    for text in (*inbox, known(engine)[0].model_dump_json()):
        assert "PL-SECRET" not in text


async def test_learning_again(engine: Engine) -> None:
    """A heartbeat adds what it knows; what a renewal said stays."""
    shop = Shop(engine)
    desk = CodeDesk(SqlWorker(engine), KEEPER, shop.clock)
    await desk.learn("PL-SECRET", SAID, activated=True)
    at = shop.clock.now_ms()
    shop.clock.advance(seconds=1)
    await code(shop, "refresh")
    nothing = CodeStanding(Kind.ACCEPTED, "92020000")
    await desk.learn("PL-SECRET", nothing, activated=False)
    await desk.learn("PL-SECRET", SAID, activated=False)
    (row,) = known(engine)
    assert (row.activated, row.last_heartbeat) == (at, at + 1000)
    assert (row.product_id, row.expires) == ("CODE", 1_893_456_000_000)


WHATS = st.lists(st.sampled_from(["refresh", "FREEZE", "UNFREEZE"]), min_size=1, max_size=6)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(whats=WHATS, seed=st.integers(0, 99))
def test_any_order_ends_alike(engine: Engine, whats: list[str], seed: int) -> None:
    """Calls count by their own time: late, repeated and all at once they end as in order."""
    anyio.run(shuffled, engine, whats, seed)


async def shuffled(engine: Engine, whats: list[str], seed: int) -> None:
    with writing(engine) as session:
        for row in session.exec(select(LicenceCode)):
            session.delete(row)
        for entry in session.exec(select(LifecycleInbox)):
            session.delete(entry)
    shop = Shop(engine)
    await learn(shop)
    start = shop.clock.now_ms()
    calls = [
        (start + 1000 * number, what, f"r{number}", f"203{number}0101000000")
        for number, what in enumerate(whats)
    ]
    arriving = calls * 2
    random.Random(seed).shuffle(arriving)
    for at, what, order, expires in arriving:
        shop.clock.time_ms = at
        body: dict[str, Any] = call(what, order=order, expires=expires)
        reply = await shop.call(body.pop("activity"), license="PL-SECRET", **body)
        assert reply["resultCode"] == "000000"
    (row,) = known(engine)
    frozen = [what for what in whats if what != "refresh"]
    refreshed = [number for number, what in enumerate(whats) if what == "refresh"]
    assert row.status == ("frozen" if frozen and frozen[-1] == "FREEZE" else "active")
    if refreshed:
        newest = calendar.timegm((2030 + refreshed[-1], 1, 1, 0, 0, 0))
        assert row.expires == newest * 1000
