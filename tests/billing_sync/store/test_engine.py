"""The ledger: snapshots for readers, all or nothing for writers, nothing secret in its errors."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from billing_sync.key_models import ApiKey
from billing_sync.models import Bucket, Meta
from billing_sync.store.engine import add_up, open_engine, reading, writing
from tests.databases import Database


def test_opening_again_keeps_everything(database: Database) -> None:
    """Tables are made only where they are missing."""
    first = open_engine(database.url)
    with writing(first) as session:
        session.add(Meta(key="a", value="1"))
    first.dispose()
    again = open_engine(database.url)
    with reading(again) as session:
        assert session.get_one(Meta, "a").value == "1"
    again.dispose()


def test_many_open_a_new_ledger_at_once(database: Database) -> None:
    """At the first start several processes may come at the same moment."""
    database.empty()
    with ThreadPoolExecutor(16) as pool:
        engines = list(pool.map(open_engine, [database.url] * 16))
    for engine in engines:
        assert "usage_record" in inspect(engine).get_table_names()
        engine.dispose()


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
