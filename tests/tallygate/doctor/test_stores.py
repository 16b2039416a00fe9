"""What the doctor sees of data_dir, Redis and the ledger."""

import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from billing_sync.store.engine import open_engine, sqlite_url
from metering.clock import SystemClock
from tallygate.config import parse
from tallygate.doctor.diagnosis import State
from tallygate.doctor.stores import look_at_folder, look_at_ledger, look_at_redis
from tallygate.installation import Installation
from tests.databases import Database
from tests.fakes import FakeClock
from tests.tallygate.site import Site

pytestmark = pytest.mark.anyio


def installation(folder: Path, **settings: object) -> Installation:
    config = parse(f"data_dir: {folder}", {}, base=folder)
    return Installation(config.model_copy(update=settings))


async def test_before_the_first_start(tmp_path: Path) -> None:
    """Everything is made then; nothing is wrong, and nothing is made by looking."""
    new = installation(tmp_path / "var")
    looked = [
        look_at_folder(new),
        await look_at_redis(new, SystemClock()),
        await look_at_ledger(new),
    ]
    assert [each.state for each in looked] == [State.NOTE] * 3
    assert not (tmp_path / "var").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """Is a finding."""
    tmp_path.chmod(0o500)
    assert look_at_folder(installation(tmp_path)).state is State.FINDING


async def test_redis(valkey_url: str, redis: Redis, tmp_path: Path) -> None:
    """Its policy and its clock are looked at."""
    there = installation(tmp_path, redis=valkey_url)
    assert (await look_at_redis(there, SystemClock())).state is State.OK
    other_time = await look_at_redis(there, FakeClock(1_790_000_000_000))
    assert other_time.state is State.FINDING
    assert "s from ours" in other_time.text


async def test_redis_that_would_lose_counters(
    valkey_url: str, redis: Redis, tmp_path: Path
) -> None:
    """A policy that evicts is a finding."""
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        said = await look_at_redis(installation(tmp_path, redis=valkey_url), SystemClock())
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert said.state is State.FINDING
    assert "set maxmemory-policy noeviction" in said.text


async def test_redis_of_somebody_else_is_away(tmp_path: Path) -> None:
    """Nobody will start it."""
    away = installation(tmp_path, redis="redis://127.0.0.1:1/0")
    assert (await look_at_redis(away, SystemClock())).state is State.FINDING


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
async def test_a_ledger(site: Site, database: Database, tmp_path: Path) -> None:
    """At its revision, with as many partitions as configured, on either database."""
    url = database.url
    assert (await look_at_ledger(installation(tmp_path, database=url))).state is State.FINDING
    right = installation(tmp_path, database=url, partitions=4)
    assert (await look_at_ledger(right)).state is State.OK


async def test_an_older_ledger(tmp_path: Path) -> None:
    """Is brought further by the next start, and not by looking."""
    open_engine(sqlite_url(tmp_path / "ledger.db"), revision="0001").dispose()
    for _ in range(2):
        said = await look_at_ledger(installation(tmp_path))
        assert (said.state, "revision 0001" in said.text) == (State.NOTE, True)


async def test_what_is_no_ledger(tmp_path: Path) -> None:
    """A file of something else is a finding, in one line."""
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 100)
    said = await look_at_ledger(installation(tmp_path))
    assert said.state is State.FINDING
    assert "\n" not in said.text
