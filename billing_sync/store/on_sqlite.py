"""SQLite as a ledger: WAL with synchronous=FULL; writers take their lock at BEGIN."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection

_BUSY_MS: Final = 5000
TURN: Final = "turn"  # the execution option under which an engine's writers find their lock
_WAL_TRIES: Final = 100
_WAL_PAUSE_S: Final = 0.05


def sqlite_url(path: Path) -> str:
    """The database URL of an SQLite file."""
    return f"sqlite:///{path}"


def create(url: str) -> Engine:
    """An engine that has not connected yet."""
    engine = create_engine(
        url,
        hide_parameters=True,  # they may be sealed keys
        execution_options={TURN: threading.RLock()},
    )

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

    return engine


@contextmanager
def turn_of(engine: Engine) -> Iterator[None]:
    """The writers of this process wait for each other here, and are woken.

    At SQLite's own lock they would ask again and again, with longer and longer pauses, and who comes
    new is as likely to get it: beside a drain of many partitions some waited for seconds. Who has had
    no turn in the time that SQLite would have given him tries his luck there.
    """
    lock: threading.RLock = engine.get_execution_options()[TURN]
    held = lock.acquire(timeout=_BUSY_MS / 1000)
    try:
        yield
    finally:
        if held:
            lock.release()


@contextmanager
def alone(_connection: Connection) -> Iterator[None]:
    """Nobody else changes the schema for the rest of the transaction: it is the only writer."""
    yield


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
