"""Where the ledger of an installation is, and who opens it."""

from pathlib import Path

from sqlalchemy import Engine

from billing_sync.store.engine import open_engine, sqlite_url
from tallygate.config_schema import EMBEDDED
from tallygate.installation import Installation


def ledger_file(installation: Installation) -> Path | None:
    """The file of an embedded ledger; None for one in a database server."""
    embedded = installation.config.database == EMBEDDED
    return installation.data_dir / "ledger.db" if embedded else None


def open_ledger(installation: Installation) -> Engine:
    """The ledger, at the newest revision. Raises BillingSyncError, and SQLAlchemyError without it."""
    file = ledger_file(installation)
    return open_engine(installation.config.database if file is None else sqlite_url(file))
