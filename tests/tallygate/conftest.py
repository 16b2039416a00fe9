"""What several tests of the command stand on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering.journal import Journal
from tests.tallygate.site import Site


@pytest.fixture
async def site(
    tmp_path: Path, redis: Redis, engine: Engine, new_lane: Callable[..., Journal]
) -> Site:
    """An installation whose partitions are set up."""
    site = Site(tmp_path, redis, engine, new_lane)
    await site.drain()
    return site
