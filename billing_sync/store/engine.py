"""Opens the ledger. SQLite runs WAL with synchronous=FULL; writers take their lock at BEGIN."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlmodel import Session, SQLModel

import billing_sync.correction_models
import billing_sync.models  # noqa: F401  (registers the tables)

_BUSY_MS = 5000
_WAL_TRIES = 100
_WAL_PAUSE_S = 0.05


def sqlite_url(path: Path) -> str:
    """The database URL of an SQLite file."""
    return f"sqlite:///{path}"


def open_engine(url: str) -> Engine:
    """Connect and create missing tables. Raises sqlalchemy.exc.OperationalError when it cannot."""
    engine = create_engine(url, hide_parameters=True)  # they may be sealed keys
    if engine.dialect.name == "sqlite":
        _tame_sqlite(engine)
    SQLModel.metadata.create_all(engine)
    return engine


def _tame_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection, _record) -> None:  # type: ignore[no-untyped-def]
        # The driver must not open transactions by itself: BEGIN IMMEDIATE below is the only one.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")  # first: the next line needs a lock
        _set_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # IMMEDIATE: a deferred transaction that reads first and then writes can only fail
        # with SQLITE_BUSY_SNAPSHOT, which no timeout heals.
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _set_wal(cursor: Any) -> None:
    """Several processes may open a new ledger at once, and the busy time-out does not cover this."""
    for _ in range(_WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One snapshot for reading; never blocks a writer."""
    options: dict[str, Any] = {"read_only": True}
    if engine.dialect.name == "postgresql":  # else every statement would see a newer state
        options["isolation_level"] = "REPEATABLE READ"
    with (
        engine.connect().execution_options(**options) as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session


def add_up(
    session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], *sums: str
) -> None:
    """Insert the rows; where the primary key exists, add the columns named in `sums` instead."""
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    columns = table.__table__.c  # type: ignore[attr-defined]
    statement = insert.on_conflict_do_update(
        index_elements=[column.name for column in table.__table__.primary_key],  # type: ignore[attr-defined]
        set_={name: columns[name] + insert.excluded[name] for name in sums},
    )
    session.execute(statement, rows)


def in_parts(ids: Sequence[str], most: int = 500) -> Iterator[Sequence[str]]:
    """The ids in parts that fit into one question."""
    return (ids[start : start + most] for start in range(0, len(ids), most))
