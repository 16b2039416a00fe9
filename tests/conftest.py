"""What every test may ask for: the event loop, one Valkey for the session, a fresh ledger."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering import embedded
from metering.connection import connect_one
from metering.embedded import EmbeddedValkey
from metering.journal import Durability, Journal
from tests.databases import Database, PostgresDatabase, SqliteFile
from tests.fakes import FakeClock
from tests.postgres import PostgresServer, running
from tests.redis_cluster import TestCluster, cluster

# The suite runs often, so examples add up over the runs. HYPOTHESIS_PROFILE=thorough for more at once.
# How long anything takes is the machine's business.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", UNHURRIED, max_examples=30)
settings.register_profile("thorough", UNHURRIED, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# Begun first, so that nobody is left with one of them when all others are done.
LONGEST = (
    "tests/tallygate/drills/test_drills.py",
    "tests/tallygate/month/test_month.py",
    "tests/billing_sync/console/test_in_a_browser.py",
    "tests/tallygate/test_serve.py",
    "tests/tallygate/test_limits_served.py",
    "tests/deploy/test_dashboards.py",
    "tests/test_people_in_a_browser.py",
    "tests/test_entitlements_served.py",
    "tests/tallygate/test_serve_workers.py",
    "tests/tallygate/test_reloading.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; `make test` hands files out in this order."""
    turns = {name: turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(item.nodeid.partition("::")[0], len(turns)))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that lives as long as the session."""
    data_dir = tmp_path_factory.mktemp("valkey")
    with EmbeddedValkey(data_dir):
        yield embedded.url(data_dir)


@pytest.fixture
async def redis(valkey_url: str, anyio_backend: str) -> AsyncIterator[Redis]:
    """A client of an emptied server."""
    client = connect_one(valkey_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """Three masters that live as long as the session."""
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that lives as long as the session."""
    with running() as server:
        yield server


@pytest.fixture
def database_kind() -> str:
    """Where a ledger is; tests of the ledger itself have both kinds."""
    return "sqlite"


@pytest.fixture
def database(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """The place of an empty ledger."""
    if database_kind == "sqlite":
        yield SqliteFile(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    fresh = PostgresDatabase(server, tmp_path, server.fresh())
    yield fresh
    fresh.drop()


@pytest.fixture
def engine(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty ledger; a test that changes its database asks for that too."""
    place: Database
    if "database" in request.fixturenames or database_kind == "sqlite":
        place = request.getfixturevalue("database")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        place = PostgresDatabase(server, tmp_path, server.shared())
    opened = place.open()
    yield opened
    opened.dispose()


@pytest.fixture
def new_lane(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens lanes in `tmp_path/journal`, with small segments; those left open are closed."""
    opened: list[Journal] = []

    def new(lane_id: str = "lane", partitions: int = 1, clock: FakeClock | None = None) -> Journal:
        durability = Durability(fsync="never", segment_bytes=1 << 16)
        lane = Journal(tmp_path / "journal", lane_id, partitions, durability, clock or FakeClock())
        opened.append(lane)
        return lane

    yield new
    for lane in opened:
        lane.close()
