"""What every test may ask for: the event loop, one Valkey for the session, a fresh ledger."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.store.engine import open_engine, sqlite_url
from metering import embedded
from metering.connection import connect
from metering.embedded import EmbeddedValkey


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
    client = connect(valkey_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty ledger in a file."""
    opened = open_engine(sqlite_url(tmp_path / "ledger.db"))
    yield opened
    opened.dispose()
