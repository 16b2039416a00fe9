"""The databases a ledger may be in, as tests have them: a fresh one each, which can be backed up."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from sqlalchemy import Engine

from billing_sync.store.engine import connect, open_engine, sqlite_url
from tests.postgres import PostgresServer


class Database(Protocol):
    """One ledger's place. `folder` is for what else a control plane keeps."""

    folder: Path

    @property
    def url(self) -> str: ...

    def open(self) -> Engine: ...

    def back_up(self) -> int:
        """While the ledger is in use; the number of the backup."""

    def restore(self, number: int = -1) -> None:
        """To a backup; nobody may have the ledger open."""

    def empty(self) -> None:
        """As if there had never been a ledger; nobody may have it open."""

    def drop(self) -> None:
        """Nobody needs it any more."""


@dataclass
class SqliteFile:
    """A file in `folder`."""

    folder: Path
    backups: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def url(self) -> str:
        return sqlite_url(self.path)

    def open(self) -> Engine:
        if not self.path.exists():
            _copy_new(self.path)
        return opened(self)

    def back_up(self) -> int:
        target = self.path.with_name(f"backup{len(self.backups)}.db")
        with closing(sqlite3.connect(self.path)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)
        self.backups.append(target)
        return len(self.backups) - 1

    def restore(self, number: int = -1) -> None:
        self.empty()
        self.path.write_bytes(self.backups[number].read_bytes())

    def empty(self) -> None:
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            self.path.with_name(name).unlink(missing_ok=True)

    def drop(self) -> None:
        self.empty()


@dataclass
class PostgresDatabase:
    """A database of the session's server. Backups are copies inside it, which cost little."""

    server: PostgresServer
    folder: Path
    name: str
    backups: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def open(self) -> Engine:
        return opened(self)

    def back_up(self) -> int:
        self.backups.append(self.server.copy(self.name))
        return len(self.backups) - 1

    def restore(self, number: int = -1) -> None:
        self.server.drop(self.name)
        self.server.copy(self.backups[number], self.name)

    def empty(self) -> None:
        self.server.drop(self.name)
        self.server.copy("template0", self.name)

    def drop(self) -> None:
        for name in (self.name, *self.backups):
            self.server.drop(name)


def new_ledger(path: Path) -> Engine:
    """An empty ledger in a new file, or the one that is there already."""
    if not path.exists():
        _copy_new(path)
    return open_engine(sqlite_url(path))


def new_ledger_in_memory() -> Engine:
    """An empty ledger of one thread."""
    engine = connect("sqlite://")
    with TemporaryDirectory() as folder, closing(engine.raw_connection()) as link:
        path = Path(folder) / "ledger.db"
        _copy_new(path)
        with closing(sqlite3.connect(path)) as one:
            one.backup(link.driver_connection)  # type: ignore[arg-type]
    return engine


def _copy_new(path: Path) -> None:
    """All revisions take a third of a second, a copy of what they made nothing."""
    path.write_bytes(_made_once())


@cache
def _made_once() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        open_engine(sqlite_url(path)).dispose()
        return path.read_bytes()


def opened(database: Database) -> Engine:
    """The ledger; whoever has it can find its folder."""
    engine = open_engine(database.url)
    engine.update_execution_options(folder=database.folder)
    return engine


def place_of(engine: Engine) -> tuple[str, str]:
    """What another process needs: the folder beside a ledger, and its URL."""
    return str(folder_of(engine)), engine.url.render_as_string(hide_password=False)


def folder_of(engine: Engine) -> Path:
    """The folder beside a ledger."""
    given = engine.get_execution_options().get("folder")
    return Path(given) if given else Path(str(engine.url.database)).parent
