"""What Alembic runs to reach a ledger. The connection, its transaction and its lock are the caller's."""

from alembic import context
from sqlmodel import SQLModel


def run() -> None:
    """Run what the command asks for, in the transaction that is open already."""
    given = context.config.attributes
    context.configure(
        connection=given["connection"],
        target_metadata=SQLModel.metadata,
        render_as_batch=True,  # SQLite alters most things only by copying the table
        **given.get("generating", {}),
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # so Alembic names it; importing does nothing, as everywhere
    run()
