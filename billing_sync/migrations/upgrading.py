"""Brings a ledger to the newest revision; opening one does so. The order, and what a crash leaves:

1. look at the revision        nothing changed; as good as always there is nothing to do
2. take the ledger's lock and  nothing changed; several processes may have come at once
   look again
3. every revision that lacks,  all of it or nothing
   and its name, in the same
   transaction
A ledger that was made before there were revisions is taken over by the first one. One that is newer
than this code is left alone.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlmodel import SQLModel

from billing_sync.errors import LedgerTooNew, LedgerUnsuitable

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER: Final = Path(__file__).parent
_NAMES: Final = "alembic_version"
_OF_ANY_LEDGER: Final = "usage_record"

# Alembic's `op` and `context` belong to the process.
_one_at_a_time = threading.Lock()

Alone = Callable[[Connection], AbstractContextManager[None]]


def revisions() -> list[str]:
    """Every revision this code knows, oldest first: the names of the files begin with them."""
    return sorted(path.name[1:5] for path in (FOLDER / "versions").glob("v[0-9]*.py"))


def revision_of(connection: Connection) -> str | None:
    """Where the ledger stands; None for an empty database, and for one without revisions."""
    if not inspect(connection).has_table(_NAMES):
        return None
    found: str | None = connection.execute(text(f"select version_num from {_NAMES}")).scalar()  # noqa: S608
    return found


def upgrade(engine: Engine, alone: Alone, *, to: str | None = None) -> None:
    """Bring the ledger to revision `to`, or the newest. `alone` holds the ledger's lock.

    Raises LedgerTooNew, LedgerUnsuitable, and SQLAlchemyError.
    """
    wanted = to or revisions()[-1]
    with engine.connect().execution_options(read_only=True) as connection:
        at = revision_of(connection)
    _refuse_newer(at)
    if at == wanted:
        return
    with _one_at_a_time, engine.begin() as connection, alone(connection):
        at = revision_of(connection)
        _refuse_newer(at)
        if at != wanted:
            _bring(connection, at, wanted)


def _refuse_newer(at: str | None) -> None:
    known = revisions()
    if at is not None and at not in known:
        raise LedgerTooNew(
            f"the ledger is at revision {at}, and this version of Tallygate knows none after "
            f"{known[-1]}: run the version that made it so, or restore a backup from before"
        )


def configuration(connection: Connection) -> "Config":
    """What Alembic's commands are given; the transaction is the connection's."""
    from alembic.config import Config  # noqa: PLC0415  (a start that has nothing to do need not wait)

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def _bring(connection: Connection, at: str | None, to: str) -> None:
    from alembic import command  # noqa: PLC0415  (as above)

    taken_over = at is None and inspect(connection).has_table(_OF_ANY_LEDGER)
    command.upgrade(configuration(connection), to)
    if taken_over and to == revisions()[-1]:
        _refuse_odd(connection)


def _refuse_odd(connection: Connection) -> None:
    """A ledger without revisions may be older than the first of them."""
    found = inspect(connection)
    for table in SQLModel.metadata.sorted_tables:
        if not found.has_table(table.name):
            continue
        there = {column["name"] for column in found.get_columns(table.name)}
        lacking = sorted({column.name for column in table.columns} - there)
        if lacking:
            raise LedgerUnsuitable(
                f"the ledger was made by a version that is too old to be taken over: {table.name} "
                f"has no {lacking[0]}; run the version in between first"
            )
