import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from billing_sync.errors import StaticConflict
from billing_sync.store.engine import open_engine, sqlite_url
from billing_sync.store.ledger import PartitionsDiffer
from metering.errors import StoreUnsuitable
from tallygate.failures import mendable


def test_a_named_condition_is_its_own_line() -> None:
    """However deep in task groups it was raised."""
    named = StoreUnsuitable("set noeviction")
    deep = ExceptionGroup("tasks", [ExceptionGroup("more", [named])])
    assert mendable(named) == mendable(deep) == "set noeviction"


def test_one_line_is_all() -> None:
    """Texts of others may have more; a text that is empty is the name of the condition."""
    assert mendable(OSError("first\nsecond")) == "first"
    assert mendable(StaticConflict()) == "StaticConflict"


def test_mistakes_of_ours_are_not_explained_away() -> None:
    """They keep their stack trace."""
    assert mendable(ZeroDivisionError("oops")) is None
    assert mendable(ExceptionGroup("tasks", [KeyError("x")])) is None


def test_a_caller_may_know_more() -> None:
    """What is a mistake here can be mended there."""
    assert mendable(KeyError("x"), KeyError) == "'x'"


def test_a_ledger_is_told_without_its_sql(tmp_path: Path) -> None:
    """The driver's reason, not the library's."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(OperationalError) as failure:
        open_engine(sqlite_url(tmp_path / "ledger.db"))
    assert mendable(failure.value) == "the ledger cannot be used: unable to open database file"


def test_other_partitions_are_the_ledgers_own_line() -> None:
    """It says what to write instead."""
    assert mendable(PartitionsDiffer("partitions: write 8")) == "partitions: write 8"


WITHOUT_SQL = """
import sys
from tallygate.failures import mendable
assert mendable(OSError("taken")) == "taken"
assert mendable(KeyError("x")) is None
assert "sqlalchemy" not in sys.modules
"""


def test_a_process_without_sql_does_not_import_it_to_fail() -> None:
    """A worker that cannot start says so at once."""
    subprocess.run([sys.executable, "-c", WITHOUT_SQL], check=True)
