"""PostgreSQL as a ledger, over psycopg 3. Every wait has an end, so that a server that is dead,
locked or frozen fails a call and stops nobody: the next run finds what is left to do.

| who waits for                        | ends it                                     | after |
| a connection                         | psycopg (connect_timeout)                   | 5 s   |
| a free one of the pool               | the pool                                    | 10 s  |
| another transaction's lock           | the server (lock_timeout)                   | 5 s   |
| a statement                          | the server (statement_timeout)              | 60 s  |
| a control plane amid a transaction   | the server (idle_in_transaction_…)          | 60 s  |
| a host that is gone                  | the kernel (keepalives, tcp_user_timeout)   | 25 s  |
| a server that says nothing           | we hang up                                  | 75 s  |
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import Connection

_POOL: Final[dict[str, Any]] = {
    "pool_size": 5,
    "max_overflow": 10,
    "pool_timeout": 10.0,
    "pool_recycle": 1800,
}
_LINK: Final[Mapping[str, str]] = {  # libpq's own names; the URL may say otherwise
    "application_name": "tallygate",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "target_session_attrs": "read-write",  # never a standby, nor a master that was set aside
}
_SESSION: Final[Mapping[str, str]] = {
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
}
_PATIENCE_S: Final = 75.0
_UPGRADE_S: Final = 3600.0
_UPGRADE_LOCK: Final = 0x74616C6C79  # "tally"
_NO_TIME_LEFT: Final = "the server has the connection open and says nothing"


class Impatient(psycopg.Connection[Any]):
    """Hangs up on a server that does not answer at all, which no time-out of the server's ends."""

    patience_s: float = _PATIENCE_S

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """As psycopg's own, but not for ever."""
        return super().wait(self._bounded(gen, time.monotonic() + self.patience_s), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, Any], end: float) -> Generator[Any, Any, Any]:
        """psycopg comes by several times a second, whether there is something to read or not."""
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(_NO_TIME_LEFT)
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def create(url: str) -> Engine:
    """An engine that has not connected yet."""
    place = make_url(url)
    engine = create_engine(
        place,
        hide_parameters=True,  # they may be sealed keys
        pool_pre_ping=True,
        connect_args=_arguments(place.query),
        **_POOL,
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect, _record, words, arguments) -> Impatient:  # type: ignore[no-untyped-def]
        link = Impatient.connect(*words, **arguments)
        encoding = link.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            link.close()
            raise psycopg.OperationalError(f"its encoding is {encoding}; make one with UTF8")
        return link

    return engine


def _arguments(given: Mapping[str, Any]) -> dict[str, str]:
    ours = {name: value for name, value in _LINK.items() if name not in given}
    session = [f"-c {name}={value}" for name, value in _SESSION.items()]
    return ours | {"options": " ".join([*session, str(given.get("options", ""))]).strip()}


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Nobody else changes the schema for the rest of the transaction, which may take its time."""
    link: Any = connection.connection.driver_connection
    link.patience_s = _UPGRADE_S
    try:
        connection.execute(text("set local lock_timeout = '60s'"))
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        yield
    finally:
        link.patience_s = _PATIENCE_S
