"""A client of a real Redis over a network that loses, delays, and lets one go before the other."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

from metering.errors import MeteringError


class Killed(BaseException):
    """The process ended here."""


class _Walker:
    """One task that waits at every command until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.there = asyncio.Event()


class Network:
    """What happens to the next commands, and in which order tasks send them.

    request   it never arrives          late   it arrives when nobody waits for it any more
    reply     it is done, and its reply is lost                kill   the sender dies afterwards
    """

    def __init__(self) -> None:
        self.plan: list[str | None] = []
        self.late: list[tuple[Any, ...]] = []
        self._walkers: dict[asyncio.Task[Any] | None, _Walker] = {}

    async def fault(self) -> str | None:
        """Wait for one's turn; what happens to this command."""
        walker = self._walkers.get(asyncio.current_task())
        if walker is not None:
            walker.there.set()
            await walker.go.wait()
            walker.go.clear()
        return self.plan.pop(0) if self.plan else None

    async def interleave(
        self, works: Sequence[Coroutine[Any, Any, Any]], order: Sequence[int]
    ) -> None:
        """Run them together: who sends the next command is said by `order`, again and again."""
        tasks = [asyncio.ensure_future(_bounded(work)) for work in works]
        for task in tasks:
            self._walkers[task] = _Walker()
        turn = 0
        while running := [task for task in tasks if not task.done()]:
            await self._step(running[order[turn % len(order)] % len(running)])
            turn += 1
        self._walkers.clear()
        for task in tasks:
            task.result()

    async def _step(self, task: "asyncio.Task[Any]") -> None:
        walker = self._walkers[task]
        walker.there.clear()
        walker.go.set()
        there = asyncio.ensure_future(walker.there.wait())
        await asyncio.wait([there, task], return_when=asyncio.FIRST_COMPLETED)
        there.cancel()


async def _bounded(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(MeteringError, Killed):
        await work


class UnsureRedis(Redis):
    """Its network decides what becomes of each command."""

    network: Network

    @classmethod
    def over(cls, url: str, network: Network) -> "UnsureRedis":
        made = cls.from_url(url, retry=Retry(NoBackoff(), 0))
        assert isinstance(made, cls)
        made.network = network
        return made

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        fault = await self.network.fault()
        if fault == "late":
            self.network.late.append(args)
        if fault in ("request", "late"):
            raise RedisTimeoutError
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        if fault == "reply":
            raise RedisTimeoutError
        if fault == "kill":
            raise Killed
        return answer
