"""For developers: `make revision MESSAGE='what changed'` writes down how the tables changed.

The tables are held against a new ledger at the newest revision, and what differs becomes the next
one. Read it before you commit it: what Alembic cannot see (a rename, data that must be moved) is
written by hand.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.operations import ops
from sqlmodel.sql.sqltypes import AutoString

from billing_sync.migrations.upgrading import configuration, revisions
from billing_sync.store.engine import open_engine, sqlite_url

_EMPTY: Final[dict[type, str]] = {bool: "false", int: "0", str: "''"}


def main(message: str) -> None:
    """Write the next revision, if there is anything to write."""
    number = f"{int(revisions()[-1]) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(sqlite_url(Path(folder) / "ledger.db"))
        with engine.begin() as connection:
            config = configuration(connection)
            config.attributes["generating"] = {
                "render_item": as_plain_sqlalchemy,
                "process_revision_directives": settle,
            }
            _write(config, message, number)
        engine.dispose()


def _write(config: Config, message: str, number: str) -> None:
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    made = command.revision(config, message, autogenerate=True, rev_id=number)
    sys.stdout.write(f"{made.path}\n" if made else "the tables are as the newest revision says\n")  # type: ignore[union-attr]


def as_plain_sqlalchemy(kind: str, item: Any, _context: Any) -> str | bool:
    """A revision outlives the models, and SQLModel's own types."""
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def settle(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Nothing for no change; and a value for the rows there are in every column that is new."""
    (script,) = directives
    if script.upgrade_ops.is_empty():
        directives.clear()
        return
    for added in _added(script.upgrade_ops.ops):
        added.column = filled(added.column)


def _added(operations: list[Any]) -> Iterator[ops.AddColumnOp]:
    for operation in operations:
        if isinstance(operation, ops.AddColumnOp):
            yield operation
        elif isinstance(operation, ops.OpContainer):
            yield from _added(operation.ops)


def filled(column: sa.Column[Any]) -> sa.Column[Any]:
    """The column with its own default for rows that are there already, or a nought of its kind."""
    if column.nullable or column.server_default is not None:
        return column
    value: Any = getattr(column.default, "arg", None)
    if value is None or callable(value):
        text = _EMPTY[column.type.python_type]
    elif isinstance(value, str):
        text = "'{}'".format(value.replace("'", "''"))
    else:
        text = str(value).lower()
    return sa.Column(column.name, column.type, nullable=False, server_default=sa.text(text))


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
