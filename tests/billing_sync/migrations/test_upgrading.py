"""From any revision to the newest one: nothing is lost, and nobody gets in between."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, Table, inspect, text
from sqlmodel import SQLModel

from billing_sync.errors import LedgerTooNew, LedgerUnsuitable
from billing_sync.migrations.upgrading import FOLDER, revisions
from billing_sync.store.engine import connect, open_engine
from tests.databases import Database

ROOT = Path(__file__).parents[3]
OLDEST = revisions()[0]


def change(url: str, *statements: str) -> None:
    """Behind the ledger's back."""
    engine = connect(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def tables(url: str) -> set[str]:
    engine = connect(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def revision(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("select version_num from alembic_version")).scalar())


def reflected(engine: Engine) -> dict[str, Table]:
    """The tables as they are in the database."""
    there = MetaData()
    with engine.connect() as connection:
        there.reflect(connection)
    return {name: table for name, table in there.tables.items() if name != "alembic_version"}


def some(column: sa.Column[Any], number: int) -> Any:
    """Any value the column can hold; the numbers of a wide one are wide."""
    if isinstance(column.type, sa.Boolean):
        return bool(number % 2)
    if isinstance(column.type, sa.BigInteger):
        return 2**40 + number
    return number if isinstance(column.type, sa.Integer) else f"用量 {number}"


def fill(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Three rows in every table; what they hold."""
    rows, there = {}, reflected(engine)
    with engine.begin() as connection:
        for name, table in there.items():
            rows[name] = [{c.name: some(c, n) for c in table.columns} for n in range(1, 4)]
            connection.execute(table.insert(), rows[name])
    return rows


def test_the_tables_are_what_the_revisions_make(engine: Engine) -> None:
    """On both databases. Otherwise `make revision MESSAGE='what changed'` is due."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_revisions_are_one_line_and_named_after_their_files() -> None:
    """What opens a ledger reads the names only."""
    script = ScriptDirectory(str(FOLDER))
    line = [each.revision for each in script.walk_revisions()]
    assert line[::-1] == revisions()
    assert OLDEST == "0001"


def test_a_full_ledger_of_the_first_revision_comes_through(database: Database) -> None:
    """Every row of every table that is still there, in every column that is."""
    database.empty()
    first = open_engine(database.url, revision=OLDEST)
    assert revision(first) == OLDEST
    before = fill(first)
    first.dispose()
    engine = open_engine(database.url)
    assert revision(engine) == revisions()[-1]
    for name, table in reflected(engine).items():
        kept = [c.name for c in table.columns if name in before and c.name in before[name][0]]
        if kept:
            with engine.connect() as connection:
                found = connection.execute(sa.select(*(table.c[column] for column in kept)))
                now = sorted(map(repr, map(tuple, found)))
            assert now == sorted(repr(tuple(row[c] for c in kept)) for row in before[name])
    engine.dispose()


def test_a_ledger_without_revisions_is_taken_over(database: Database) -> None:
    """As earlier versions left it, also without a table that was added since."""
    database.empty()
    first = open_engine(database.url, revision=OLDEST)
    before = fill(first)
    first.dispose()
    change(database.url, "drop table alembic_version", "drop table ahead")
    engine = open_engine(database.url)
    assert revision(engine) == revisions()[-1]
    with engine.connect() as connection:
        found = connection.execute(text("select metering_sn, value from usage_record")).all()
        assert len(found) == len(before["usage_record"])
        assert connection.execute(text("select count(*) from ahead")).scalar() == 0
    engine.dispose()


def test_one_that_is_too_old_is_left_as_it_is(database: Database) -> None:
    """It lacks a column, and nobody knows what belongs in there."""
    database.empty()
    open_engine(database.url, revision=OLDEST).dispose()
    change(database.url, "drop table alembic_version", "alter table carry drop column waiting")
    with pytest.raises(LedgerUnsuitable, match="carry has no waiting"):
        open_engine(database.url)
    assert "alembic_version" not in tables(database.url)


def test_one_that_is_newer_is_left_as_it_is(database: Database) -> None:
    """The text says what may be done."""
    open_engine(database.url).dispose()
    change(database.url, "update alembic_version set version_num = '9999'")
    with pytest.raises(LedgerTooNew, match="revision 9999.*run the version that made it so"):
        open_engine(database.url)


def test_many_upgrade_at_once(database: Database) -> None:
    """One does, the others wait for it."""
    database.empty()
    open_engine(database.url, revision=OLDEST).dispose()
    change(database.url, "drop table alembic_version")
    code = f"from billing_sync.store.engine import open_engine; open_engine({database.url!r})"
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_engine, [database.url] * 8))
    assert {revision(engine) for engine in engines} == {revisions()[-1]}
    assert [other.wait(60) for other in others] == [0, 0]
    for engine in engines:
        engine.dispose()


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from billing_sync.store.engine import open_engine

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith("INSERT INTO alembic_version"):
        os.kill(os.getpid(), signal.SIGKILL)

open_engine(sys.argv[1])
"""


def test_killed_in_the_middle(database: Database) -> None:
    """Nothing of it is there, and the next one does it all."""
    database.empty()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, database.url], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert tables(database.url) == set()
    engine = open_engine(database.url)
    assert "usage_record" in tables(database.url)
    engine.dispose()


def test_an_open_ledger_asks_no_writer(database: Database) -> None:
    """Whoever only looks is not held up by one who writes."""
    engine = database.open()
    with engine.begin() as connection:
        connection.execute(text("update partition set last = ''"))
        open_engine(database.url).dispose()
    engine.dispose()
    assert os.environ.get("ALEMBIC_CONFIG") is None  # nor does any of this want a file
