"""Opens the ledger, on SQLite or PostgreSQL, at the newest revision; its transactions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlmodel import Session, SQLModel

import billing_sync.act_models
import billing_sync.alert_models
import billing_sync.balance_models
import billing_sync.correction_models
import billing_sync.finding_models
import billing_sync.key_models
import billing_sync.kit_models
import billing_sync.licence_models
import billing_sync.market_models
import billing_sync.metric_models
import billing_sync.models
import billing_sync.package_models
import billing_sync.people_models
import billing_sync.upgrade_models  # noqa: F401  (both register tables)
from billing_sync.errors import LedgerUnsuitable
from billing_sync.migrations.upgrading import upgrade
from billing_sync.store import on_sqlite
from billing_sync.store.on_sqlite import sqlite_url

__all__ = [
    "add_up",
    "connect",
    "in_parts",
    "lost_a_race",
    "open_engine",
    "reading",
    "sqlite_url",
    "writing",
]

POSTGRESQL: Final = "postgresql"
_RACES: Final = {"40001", "40P01"}  # serialization failure, deadlock


def open_engine(url: str, *, revision: str | None = None) -> Engine:
    """Connect, and bring the ledger to the newest revision, or to that one.

    Raises LedgerTooNew, LedgerUnsuitable, and SQLAlchemyError where the database is away.
    """
    kind = _kind(url)
    engine: Engine = kind.create(url)
    try:
        upgrade(engine, kind.alone, to=revision)
    except ProgrammingError as refused:  # a connection option that is none, or a right that lacks
        engine.dispose()
        raise LedgerUnsuitable(f"the ledger cannot be opened: {first_line(refused)}") from refused
    except BaseException:
        engine.dispose()
        raise
    return engine


def connect(url: str) -> Engine:
    """An engine that has not connected yet, and changes nothing when it does."""
    engine: Engine = _kind(url).create(url)
    return engine


def _kind(url: str) -> Any:
    if url.startswith("sqlite"):
        return on_sqlite
    from billing_sync.store import on_postgresql  # noqa: PLC0415  (whose driver SQLite needs not)

    return on_postgresql


def first_line(failure: DBAPIError) -> str:
    """What the database said, without the SQL."""
    return (str(failure.orig).splitlines() or [""])[0]


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    turn = nullcontext() if engine.dialect.name == POSTGRESQL else on_sqlite.turn_of(engine)
    with turn, Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One snapshot for reading; never blocks a writer."""
    options: dict[str, Any] = {"read_only": True}
    if engine.dialect.name == POSTGRESQL:  # else every statement would see a newer state
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with (
        engine.connect().execution_options(**options) as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session


def lost_a_race(failure: Exception) -> bool:
    """Whether somebody else was quicker, and the same transaction would do better now."""
    if isinstance(failure, IntegrityError):
        return True
    return isinstance(failure, DBAPIError) and getattr(failure.orig, "sqlstate", None) in _RACES


def inserting(session: Session, table: type[SQLModel]) -> Any:
    """An INSERT that may say what happens where the key is there already."""
    name = session.get_bind().dialect.name
    return (postgresql if name == POSTGRESQL else sqlite).insert(table)


def add_up(
    session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], *sums: str
) -> None:
    """Insert the rows; where the primary key exists, add the columns named in `sums` instead."""
    if not rows:
        return
    insert = inserting(session, table)
    columns = table.__table__.c  # type: ignore[attr-defined]
    statement = insert.on_conflict_do_update(
        index_elements=[column.name for column in table.__table__.primary_key],  # type: ignore[attr-defined]
        set_={name: columns[name] + insert.excluded[name] for name in sums},
    )
    session.execute(statement, rows)


def in_parts(ids: Sequence[str], most: int = 500) -> Iterator[Sequence[str]]:
    """The ids in parts that fit into one question."""
    return (ids[start : start + most] for start in range(0, len(ids), most))
