"""SQLite as a ledger: durable, one writer, and a file that may not be there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from billing_sync.models import Meta
from billing_sync.store.engine import open_engine, reading, sqlite_url, writing


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def test_commits_survive_a_power_cut(engine: Engine) -> None:
    """WAL with synchronous=FULL (2), on every connection."""
    with reading(engine) as first, reading(engine) as second:
        for session in (first, second):
            assert session.connection().execute(text("pragma journal_mode")).scalar() == "wal"
            assert session.connection().execute(text("pragma synchronous")).scalar() == 2


def test_no_ledger_there(tmp_path: Path) -> None:
    """A folder that does not exist is said."""
    with pytest.raises(OperationalError):
        open_engine(sqlite_url(tmp_path / "nowhere" / "ledger.db"))


def test_writers_wait_for_each_other(engine: Engine) -> None:
    """Read, add one, write back: none of them is lost."""
    with writing(engine) as session:
        session.add(Meta(key="n", value="0"))

    def add_one(_: int) -> None:
        with writing(engine) as session:
            row = session.get_one(Meta, "n")
            row.value = str(int(row.value) + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(40)))
    with reading(engine) as session:
        assert session.get_one(Meta, "n").value == "40"
