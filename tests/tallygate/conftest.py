"""What several tests of the command stand on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering.journal import Journal
from tests.tallygate.commands import CONFIG
from tests.tallygate.site import Site


@pytest.fixture
async def site(
    tmp_path: Path, redis: Redis, engine: Engine, new_lane: Callable[..., Journal]
) -> Site:
    """An installation whose partitions are set up."""
    site = Site(tmp_path, redis, engine, new_lane)
    await site.drain()
    return site


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The file of a configuration whose Redis is away."""
    path = tmp_path / "tallygate.yaml"
    path.write_text(CONFIG.format(var=tmp_path / "var"))
    return path
