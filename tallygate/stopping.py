"""How a process of ours is told to stop: by SIGTERM or SIGINT, or by the end of its owner."""

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from metering.tether import woken_at_parents_death

log = logging.getLogger("tallygate")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """`told` once, finish in good order; `hurried`, wait for nobody any more.

    `orphaned` says that the owner is gone: somebody else may want the addresses at once.
    """

    def __init__(self) -> None:
        self.told = anyio.Event()
        self.hurried = anyio.Event()
        self.orphaned = False
        self._hung_up = anyio.Event()

    def hang_up(self) -> None:
        """SIGHUP came: who waits for it goes on."""
        self._hung_up.set()

    async def hung_up(self) -> None:
        """Return when SIGHUP came since the last time; several are one."""
        await self._hung_up.wait()
        self._hung_up = anyio.Event()

    def __call__(self) -> None:
        """Tell it, or tell it again."""
        (self.hurried if self.told.is_set() else self.told).set()


@asynccontextmanager
async def told_to_stop(
    owner: int | None = None, *, hangs_up: bool = False, reloads: bool = False
) -> AsyncIterator[Stop]:
    """While the block lasts, signals do nothing but tell it.

    `owner` is the reading end of a pipe whose other end the owner keeps open for as long as it
    lives. Without an owner any second signal hurries. With one SIGINT does, at once, and SIGTERM
    never: what stops a whole service sends it to everybody, and the owner then sends it again.
    SIGHUP tells what `hangs_up`, as a closing terminal should; what `reloads` waits for it with
    `Stop.hung_up`; any other service only says that it came.
    """
    stop = Stop()
    with anyio.open_signal_receiver(*SIGNALS) as signals:

        async def hear_signals() -> None:
            async for number in signals:
                if number == signal.SIGHUP and reloads:
                    stop.hang_up()
                elif number == signal.SIGHUP and not hangs_up:
                    log.warning("SIGHUP changes nothing; a new configuration needs a new start")
                else:
                    _hear(number, stop, owned=owner is not None)

        async with anyio.create_task_group() as group:
            group.start_soon(hear_signals)
            if owner is not None:
                group.start_soon(_hear_owner, owner, stop)
            yield stop
            group.cancel_scope.cancel()


def _hear(number: signal.Signals, stop: Stop, *, owned: bool) -> None:
    if not owned:
        stop()
        return
    stop.told.set()
    if number == signal.SIGINT:
        stop.hurried.set()


async def _hear_owner(pipe: int, stop: Stop) -> None:
    woken_at_parents_death()  # it could not hear while it is stopped
    await anyio.wait_readable(pipe)  # nothing is ever written: readable means closed
    os.close(pipe)
    stop.orphaned = True
    stop.told.set()
