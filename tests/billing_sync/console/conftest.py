"""A console for each test, and somebody who signed in to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from tests.billing_sync.books import Books
from tests.billing_sync.console.stage import PRICED, Browser, Stage, browser_of, stage_of


@pytest.fixture
def stage(engine: Engine, redis: Redis, tmp_path: Path) -> Stage:
    """Empty books, ten minutes past an hour."""
    return stage_of(Books(engine, PRICED), redis, tmp_path)


@pytest.fixture
async def stranger(stage: Stage) -> AsyncIterator[Browser]:
    """Somebody without a session."""
    async with browser_of(stage) as browser:
        yield browser


@pytest.fixture
async def operator(stage: Stage) -> AsyncIterator[Browser]:
    """Somebody who signed in."""
    async with browser_of(stage) as browser:
        assert (await browser.sign_in()).status_code == 303
        yield browser
