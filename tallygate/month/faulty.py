"""Dependencies that can be taken away: Redis, the database and the marketplace as clients see them.

Each counts how often somebody noticed: a trouble that nobody noticed has shown nothing.
"""

import random
import sqlite3
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy import Engine, event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import OperationalError

Mood = Literal["", "refused", "unsure"]
_PATIENCE_MS: Final = 20  # how long a locked ledger is waited for: nobody else will free it


class FaultyRedis(Redis):
    """Its network refuses, or loses commands and replies; each client has a network of its own."""

    mood: Mood = ""
    noticed: int = 0
    dice: random.Random

    @classmethod
    def over(cls, url: str, dice: random.Random) -> "FaultyRedis":
        """As metering.connection.connect_one makes its clients."""
        made = cls.from_url(url, retry=Retry(NoBackoff(), 0), retry_on_timeout=False)
        if not isinstance(made, cls):
            raise TypeError("from_url made another client")
        made.dice = dice
        return made

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        lost = self._lost()
        if lost == "command":
            raise RedisTimeoutError("no reply")
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        if lost == "reply":
            raise RedisTimeoutError("no reply")
        return answer

    def pipeline(self, *args: Any, **options: Any) -> Any:
        if self._lost():
            raise RedisTimeoutError("no reply")
        return super().pipeline(*args, **options)

    def _lost(self) -> str:
        """What of the next command is lost: `command`, `reply`, or nothing."""
        if not self.mood:
            return ""
        if self.mood == "refused":
            self.noticed += 1
            raise RedisConnectionError("connection refused")
        lost = self.dice.choice(("command", "reply", "", ""))
        self.noticed += bool(lost)
        return lost


class FaultyDatabase:
    """Switches an engine off, or locks an SQLite file as another process would."""

    def __init__(self, engine: Engine, path: Path | None) -> None:
        """`path` is the file of an SQLite ledger; without one `lock` refuses."""
        self.refusing = False
        self.noticed = 0
        self._path = path
        self._locker: sqlite3.Connection | None = None
        event.listen(engine, "begin", self._begins)
        event.listen(engine, "handle_error", self._failed)
        if path is not None:
            event.listen(engine, "connect", _in_a_hurry)
            engine.dispose()  # connections that were opened before are more patient

    def lock(self) -> None:
        """From here on nobody else writes."""
        if self._path is None:
            self.refusing = True
        else:
            self._locker = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False
            )
            self._locker.execute("PRAGMA busy_timeout=20000")
            self._locker.execute("BEGIN IMMEDIATE")

    def heal(self) -> None:
        """All is well again."""
        self.refusing = False
        if self._locker is not None:
            self._locker.rollback()
            self._locker.close()
            self._locker = None

    def _begins(self, _: Connection) -> None:
        if self.refusing:
            self.noticed += 1
            raise OperationalError("BEGIN", {}, ConnectionRefusedError("connection refused"))

    def _failed(self, _: ExceptionContext) -> None:
        self.noticed += self._locker is not None


def _in_a_hurry(dbapi_connection: Any, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
    cursor.close()


class FaultyTransport(httpx.AsyncBaseTransport):
    """The way to an application in this process, which may be closed, or lose the answers."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.mood: Literal["", "refused", "lost"] = ""
        self.noticed = 0
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.mood == "refused":
            self.noticed += 1
            raise httpx.ConnectError("connection refused", request=request)
        response = await self._inner.handle_async_request(request)
        if self.mood == "lost":
            self.noticed += 1
            await response.aclose()
            raise httpx.ReadTimeout("no answer", request=request)
        return response
