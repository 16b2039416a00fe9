"""Runs transactions in worker threads, so that the event loop never waits for a disk."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from billing_sync.store.engine import lost_a_race, reading, writing

T = TypeVar("T")
_THREADS: Final = 4  # fewer than the connection pool holds; SQLite admits one writer anyway
_TRIES: Final = 3


class SqlWorker:
    """The ledger for callers that await."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def read(self, job: Callable[[Session], T]) -> T:
        """Run `job` over one snapshot."""

        def transaction() -> T:
            with reading(self._engine) as session:
                return job(session)

        return await to_thread.run_sync(transaction, limiter=self._limiter)

    async def write(self, job: Callable[[Session], T]) -> T:
        """Run `job` in one transaction; it has committed when this returns.

        A unique identity taken by someone else meanwhile (two equal callbacks at once, on a
        database without a single writer) makes it run again, and then it finds his row.
        """

        def transaction() -> T:
            with writing(self._engine) as session:
                return job(session)

        for _ in range(_TRIES - 1):
            try:
                return await to_thread.run_sync(transaction, limiter=self._limiter)
            except DBAPIError as failure:
                if not lost_a_race(failure):
                    raise
        return await to_thread.run_sync(transaction, limiter=self._limiter)
