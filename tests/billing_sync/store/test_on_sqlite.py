"""SQLite as a ledger: durable, one writer, and a file that may not be there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

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


def test_a_writer_is_woken(engine: Engine) -> None:
    """Beside one who writes again and again he has his turn, and does not ask in vain."""
    turns: list[str] = []
    begun, over = Event(), Event()

    def busy() -> None:
        while not over.is_set():
            with writing(engine):
                begun.set()
                turns.append("busy")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(busy)
        begun.wait()
        for _ in range(20):
            with writing(engine):
                turns.append("other")
        over.set()
    assert turns.count("other") == 20


def test_a_failed_transaction_gives_its_turn_back(engine: Engine) -> None:
    """Also one that could not begin."""
    with pytest.raises(ZeroDivisionError), writing(engine):
        raise ZeroDivisionError
    with ThreadPoolExecutor(1) as pool, writing(engine) as session:
        session.add(Meta(key="n", value="0"))
        reader = pool.submit(lambda: _value(engine))
        assert reader.result() is None  # who reads waits for nobody
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: _write(engine)).result()
    assert _value(engine) == "1"


def _value(engine: Engine) -> str | None:
    with reading(engine) as session:
        row = session.get(Meta, "n")
        return None if row is None else row.value


def _write(engine: Engine) -> None:
    with writing(engine) as session:
        session.get_one(Meta, "n").value = "1"
