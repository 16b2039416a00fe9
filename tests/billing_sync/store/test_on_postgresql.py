"""PostgreSQL as a ledger: whatever the server does, no call lasts for ever and no secret is said."""

import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from billing_sync.errors import LedgerUnsuitable
from billing_sync.models import Meta
from billing_sync.store.engine import connect, open_engine, reading, writing
from tests.databases import PostgresDatabase
from tests.postgres import PostgresServer

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def hurried(database: PostgresDatabase) -> Iterator[Engine]:
    """A ledger whose patience the URL cuts short."""
    options = "-c lock_timeout=100ms -c statement_timeout=300ms"
    url = make_url(database.url).update_query_dict({"options": options})
    opened = open_engine(url.render_as_string(hide_password=False))
    yield opened
    opened.dispose()


def setting(engine: Engine, name: str) -> str:
    with reading(engine) as session:
        return str(session.connection().execute(text(f"show {name}")).scalar())


def test_every_wait_has_an_end(engine: Engine) -> None:
    """The server ends statements, waits for locks, and transactions that do nothing."""
    assert setting(engine, "statement_timeout") == "1min"
    assert setting(engine, "lock_timeout") == "5s"
    assert setting(engine, "idle_in_transaction_session_timeout") == "1min"
    assert setting(engine, "application_name") == "tallygate"


def test_a_row_that_stays_locked(hurried: Engine) -> None:
    """Is an error of the call that wants it, and the call after it goes on."""
    with writing(hurried) as session:
        session.add(Meta(key="a", value="1"))

    def overwrite() -> None:
        with writing(hurried) as session:
            session.get_one(Meta, "a").value = "3"

    with writing(hurried) as session:
        session.get_one(Meta, "a").value = "2"
        session.flush()
        with pytest.raises(OperationalError, match="lock timeout"):
            overwrite()
    overwrite()


def test_a_statement_that_takes_too_long(hurried: Engine) -> None:
    """Is ended by the server."""
    with reading(hurried) as session, pytest.raises(OperationalError, match="statement timeout"):
        session.connection().execute(text("select pg_sleep(30)"))


def test_a_server_that_is_frozen(engine: Engine) -> None:
    """Nothing answers and nothing is closed: we hang up, and the next call has a new connection."""
    with engine.connect() as connection:
        pid = int(connection.execute(text("select pg_backend_pid()")).scalar_one())
        connection.connection.driver_connection.patience_s = 0.2  # type: ignore[union-attr]
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(OperationalError, match="says nothing"):
                connection.execute(text("select 1"))
        finally:
            os.kill(pid, signal.SIGCONT)
    with reading(engine) as session:
        assert session.connection().execute(text("select 1")).scalar() == 1


def test_a_connection_that_was_cut_is_replaced(engine: Engine, database: PostgresDatabase) -> None:
    """A server that was started anew is not noticed by the next call."""
    with writing(engine) as session:
        session.add(Meta(key="a", value="1"))
    database.server.cut(database.name)
    with reading(engine) as session:
        assert session.get_one(Meta, "a").value == "1"


def test_nobody_there() -> None:
    """Said in one line, without the password; so is the engine itself."""
    url = f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/ledger"
    with pytest.raises(OperationalError) as failure:
        open_engine(url)
    assert "127.0.0.1" in str(failure.value)
    assert (
        SECRET not in f"{failure.value} {failure.value.orig!r} {connect(url)!r} {connect(url).url}"
    )


def test_a_standby_is_not_written_to(database: PostgresDatabase) -> None:
    """Nor a master that was set aside: whoever restored it has not decided yet."""
    database.server.run(f'alter database "{database.name}" set default_transaction_read_only = on')
    with pytest.raises(OperationalError, match="read-only"):
        open_engine(database.url)


def test_an_encoding_that_cannot_hold_a_name(postgres: PostgresServer) -> None:
    """Refused before the first Chinese customer."""
    name = postgres.fresh("encoding SQL_ASCII template template0")
    with pytest.raises(OperationalError, match="its encoding is SQL_ASCII"):
        open_engine(postgres.url(name))
    postgres.drop(name)


def test_rights_that_lack(database: PostgresDatabase) -> None:
    """Whoever may not make tables is told so; it can be mended."""
    database.empty()
    database.server.run("drop role if exists poor")
    database.server.run("create role poor login")
    url = make_url(database.url).set(username="poor").render_as_string(hide_password=False)
    with pytest.raises(LedgerUnsuitable, match="permission denied"):
        open_engine(url)


def test_options_that_are_none(database: PostgresDatabase) -> None:
    """libpq's word for it."""
    url = make_url(database.url).update_query_dict({"colour": "blue"})
    with pytest.raises(LedgerUnsuitable, match="colour"):
        open_engine(url.render_as_string(hide_password=False))


def test_reading_changes_nothing(engine: Engine) -> None:
    """A write where none belongs is refused, and the connection is as good as new after it."""

    def smuggle() -> None:
        with reading(engine) as session:
            session.add(Meta(key="a", value="1"))
            session.flush()

    with pytest.raises(DBAPIError, match="read-only"):
        smuggle()
    for _ in range(3):
        with writing(engine) as session:
            session.merge(Meta(key="b", value="2"))
