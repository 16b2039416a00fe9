"""How developers write a revision: by a command, and so that ledgers with rows in them take it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from billing_sync.revising import filled
from tests.databases import Database

ROOT = Path(__file__).parents[2]
MORE = '''

class Extra(SQLModel, table=True):
    """A table that is new."""

    id: str = Field(primary_key=True)
    at: int = Field(default=0, sa_type=BigInteger, index=True)
'''
OPEN = """
import sys
from sqlalchemy import text
from billing_sync.store.engine import open_engine
engine = open_engine(sys.argv[1])
with engine.connect() as connection:
    print(connection.execute(text("select loud, colour, size, twice from customer")).all())
    print(connection.execute(text("select count(*) from extra")).scalar())
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources, to be changed."""
    for package in ("billing_sync", "metering"):
        shutil.copytree(ROOT / package, tmp_path / package)
    return tmp_path


def python(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_new_tables_and_columns(copied: Path, database: Database) -> None:
    """The next revision is written, and a ledger with rows in it has them; again there is nothing."""
    engine = database.open()
    with engine.begin() as connection:
        connection.execute(sa.text("insert into customer (id, name, source) values ('c', 'C', '')"))
    engine.dispose()
    models = copied / "billing_sync" / "models.py"
    mark = '    source: str = "koogallery"  # koogallery | static\n'
    text = models.read_text()
    assert mark in text
    columns = (
        "loud: bool = True",
        'colour: str = "it\'s"',
        "size: int = 7",
        "twice: str | None = None",
    )
    more = "".join(f"    {column}\n" for column in columns)
    models.write_text(text.replace(mark, mark + more) + MORE)
    said = python(copied, "-m", "billing_sync.revising", "more", "of", "it")
    written = Path(said.splitlines()[-1])
    assert written.parent == copied / "billing_sync" / "migrations" / "versions"
    assert written.name.endswith("_more_of_it.py")
    assert "sqlmodel" not in written.read_text()
    assert python(copied, "-c", OPEN, database.url).splitlines() == [
        """[(True, "it's", 7, None)]""".replace(
            "True", "1" if "sqlite" in database.url else "True"
        ),
        "0",
    ]
    said = python(copied, "-m", "billing_sync.revising", "no")
    assert said.splitlines()[-1] == "the tables are as the newest revision says"


@pytest.mark.parametrize(
    ("column", "default"),
    [
        (sa.Column("a", sa.BigInteger, nullable=False), "0"),
        (sa.Column("a", sa.String, nullable=False), "''"),
        (sa.Column("a", sa.Boolean, nullable=False), "false"),
        (sa.Column("a", sa.Boolean, nullable=False, default=True), "true"),
        (sa.Column("a", sa.String, nullable=False, default="x"), "'x'"),
        (sa.Column("a", sa.Integer, nullable=False, default=lambda: 5), "0"),
    ],
)
def test_a_column_that_is_new_has_a_value_in_old_rows(
    column: sa.Column[object], default: str
) -> None:
    """Its own default, or a nought of its kind."""
    made = filled(column).server_default
    assert isinstance(made, sa.DefaultClause)
    assert str(made.arg) == default


def test_a_column_that_may_be_null_needs_none() -> None:
    """It is null in old rows."""
    assert filled(sa.Column("a", sa.Integer)).server_default is None
