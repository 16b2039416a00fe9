"""The load of a drill: customers who call at a steady rate, whatever becomes of their calls."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import anyio
import httpx
from anyio.abc import TaskGroup

from tallygate.drills.books import Books
from tallygate.drills.calls import Caller, decide, make

_MOST_OPEN: Final = 200
_TIMEOUT_S: Final = 30.0
# Connections are given up before the gateway does so: it keeps them for 5 s.
_LIMITS: Final = httpx.Limits(
    max_connections=_MOST_OPEN, max_keepalive_connections=40, keepalive_expiry=2.0
)


class Load:
    """Calls of all callers in turn, `rate` a second; `url` says where the gateway is now."""

    def __init__(
        self, url: Callable[[], str | None], callers: Sequence[Caller], rate: float, dice: Random
    ) -> None:
        self._url = url
        self._callers = callers
        self._rate = rate
        self._dice = dice
        self._open = 0
        self.books = Books()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls begin for as long as the block lasts; then the open ones end by themselves."""
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, limits=_LIMITS) as http,
            anyio.create_task_group() as calls,
        ):
            over = anyio.Event()
            calls.start_soon(self._begin_calls, http, calls, over)
            yield
            over.set()

    async def _begin_calls(
        self, http: httpx.AsyncClient, calls: TaskGroup, over: anyio.Event
    ) -> None:
        due = anyio.current_time()
        while not over.is_set():
            due += 1 / self._rate
            await anyio.sleep_until(due)
            if self._open < _MOST_OPEN:  # the others wait, as customers do whose calls all hang
                calls.start_soon(self._call, http)

    async def _call(self, http: httpx.AsyncClient) -> None:
        books = self.books
        call = decide(self._callers[books.begun % len(self._callers)], self._dice)
        books.begun += 1
        url = self._url()
        if url is None:
            books.unreachable += 1
            return
        self._open += 1
        try:
            await make(http, url, call, books)
        finally:
            self._open -= 1
