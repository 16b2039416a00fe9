"""Dependencies that are taken away, and given back."""

import random
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from billing_sync.models import Meta
from billing_sync.store.engine import reading, sqlite_url, writing
from metering import heartbeats
from metering.errors import MeteringError, MeteringUnavailable
from metering.heartbeats import Heartbeat
from tallygate.month.faulty import FaultyDatabase, FaultyRedis, FaultyTransport

pytestmark = pytest.mark.anyio


async def test_redis_refuses_as_a_dead_server_does(valkey_url: str) -> None:
    """And answers again afterwards."""
    redis = FaultyRedis.over(valkey_url, random.Random(1))
    redis.mood = "refused"
    with pytest.raises(MeteringUnavailable):
        await heartbeats.read(redis)
    redis.mood = ""
    await heartbeats.read(redis)
    assert redis.noticed == 1
    await redis.aclose()


async def test_an_unsure_network_loses_commands_and_replies(valkey_url: str) -> None:
    """Some of what failed was done all the same."""
    redis = FaultyRedis.over(valkey_url, random.Random(1))
    await redis.flushall()
    redis.mood = "unsure"
    failed = set()
    for number in range(40):
        try:
            await heartbeats.beat(redis, str(number), Heartbeat(number, number))
        except MeteringError:
            failed.add(str(number))
    redis.mood = ""
    done = set(await heartbeats.read(redis))
    assert redis.noticed == len(failed)
    assert failed & done
    assert failed - done
    await redis.aclose()


def test_a_database_refuses_and_comes_back(engine: Engine) -> None:
    """For readers and writers."""
    database = FaultyDatabase(engine, None)
    database.lock()  # nothing to lock: it refuses
    with pytest.raises(OperationalError), reading(engine) as session:
        session.exec(select(Meta)).all()
    database.heal()
    with writing(engine) as session:
        session.add(Meta(key="k", value="v"))
    assert database.noticed == 1


def test_a_locked_ledger_can_be_read(tmp_path: Path) -> None:
    """Writers give up soon."""
    from billing_sync.store.engine import open_engine

    engine = open_engine(sqlite_url(tmp_path / "ledger.db"))
    database = FaultyDatabase(engine, tmp_path / "ledger.db")
    database.lock()
    with reading(engine) as session:
        assert session.exec(select(Meta)).all() == []
    with pytest.raises(OperationalError), writing(engine) as session:
        session.add(Meta(key="k", value="v"))
    database.heal()
    with writing(engine) as session:
        session.add(Meta(key="k", value="v"))
    assert database.noticed == 1
    engine.dispose()


async def test_a_way_is_closed_or_loses_answers() -> None:
    """What was asked may have been done."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200)

    way = FaultyTransport(httpx.MockTransport(answer))
    async with httpx.AsyncClient(transport=way, base_url="http://there") as http:
        way.mood = "refused"
        with pytest.raises(httpx.ConnectError):
            await http.get("/one")
        way.mood = "lost"
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/two")
        way.mood = ""
        assert (await http.get("/three")).is_success
    assert (asked, way.noticed) == (["/two", "/three"], 2)
