"""The ledger's file: durable, snapshots for readers, one writer, nothing secret in its errors."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import select

from billing_sync.models import ApiKey, Bucket, Meta
from billing_sync.store.engine import add_up, open_engine, reading, sqlite_url, writing


def test_commits_survive_a_power_cut(engine: Engine) -> None:
    """WAL with synchronous=FULL (2), on every connection."""
    with reading(engine) as first, reading(engine) as second:
        for session in (first, second):
            assert session.connection().execute(text("pragma journal_mode")).scalar() == "wal"
            assert session.connection().execute(text("pragma synchronous")).scalar() == 2


def test_opening_again_keeps_everything(tmp_path: Path) -> None:
    """Tables are made only where they are missing."""
    path = tmp_path / "ledger.db"
    first = open_engine(sqlite_url(path))
    with writing(first) as session:
        session.add(Meta(key="a", value="1"))
    first.dispose()
    again = open_engine(sqlite_url(path))
    with reading(again) as session:
        assert session.get_one(Meta, "a").value == "1"
    again.dispose()


def test_many_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    """At the first start several processes may come at the same moment."""
    url = sqlite_url(tmp_path / "ledger.db")
    with ThreadPoolExecutor(16) as pool:
        engines = list(pool.map(open_engine, [url] * 16))
    for engine in engines:
        assert "usage_record" in inspect(engine).get_table_names()
        engine.dispose()


def test_no_ledger_there(tmp_path: Path) -> None:
    """A folder that does not exist is said."""
    with pytest.raises(OperationalError):
        open_engine(sqlite_url(tmp_path / "nowhere" / "ledger.db"))


def test_all_or_nothing(engine: Engine) -> None:
    """What raised leaves nothing behind."""

    def half() -> None:
        with writing(engine) as session:
            session.add(Meta(key="a", value="1"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        half()
    with reading(engine) as session:
        assert session.get(Meta, "a") is None


def test_a_reader_sees_one_instant(engine: Engine) -> None:
    """What is written meanwhile is not in its snapshot, and the writer need not wait for it."""
    with reading(engine) as session:
        assert list(session.exec(select(Meta))) == []
        with writing(engine) as other:
            other.add(Meta(key="a", value="1"))
        assert list(session.exec(select(Meta))) == []
    with reading(engine) as session:
        assert len(list(session.exec(select(Meta)))) == 1


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


def test_errors_do_not_quote_what_was_written(engine: Engine) -> None:
    """It may be a sealed key."""

    def twice() -> None:
        with writing(engine) as session:
            for _ in range(2):
                session.add(ApiKey(customer_id="c", digest="same", sealed="s3aled", created=1))

    with pytest.raises(IntegrityError) as failure:
        twice()
    assert "s3aled" not in str(failure.value)


def test_adding_up(engine: Engine) -> None:
    """A row that is there grows, one that is not is made; also twice in one call."""
    row = {"instance_id": "i", "window": 1, "name": "unbillable"}
    with writing(engine) as session:
        add_up(session, Bucket, [], "quantity")
        add_up(session, Bucket, [{**row, "quantity": 5}, {**row, "quantity": 6}], "quantity")
        add_up(session, Bucket, [{**row, "quantity": 1}], "quantity")
        add_up(session, Bucket, [{**row, "window": 2, "quantity": 2**62}], "quantity")
    with reading(engine) as session:
        assert {b.window: b.quantity for b in session.exec(select(Bucket))} == {1: 12, 2: 2**62}
