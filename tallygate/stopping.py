"""How a process of ours is told to stop: by SIGTERM or SIGINT, or by the end of its owner."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """`told` once, finish in good order; `hurried`, wait for nobody any more."""

    def __init__(self) -> None:
        self.told = anyio.Event()
        self.hurried = anyio.Event()

    def __call__(self) -> None:
        """Tell it, or tell it again."""
        (self.hurried if self.told.is_set() else self.told).set()


@asynccontextmanager
async def told_to_stop(owner: int | None = None) -> AsyncIterator[Stop]:
    """While the block lasts, signals do nothing but tell it.

    `owner` is the reading end of a pipe whose other end the owner keeps open for as long as it
    lives.
    """
    stop = Stop()
    with anyio.open_signal_receiver(*SIGNALS) as signals:

        async def hear_signals() -> None:
            async for _ in signals:
                stop()

        async with anyio.create_task_group() as group:
            group.start_soon(hear_signals)
            if owner is not None:
                group.start_soon(_hear_owner, owner, stop)
            yield stop
            group.cancel_scope.cancel()


async def _hear_owner(pipe: int, stop: Stop) -> None:
    await anyio.wait_readable(pipe)  # nothing is ever written: readable means closed
    os.close(pipe)
    stop()
