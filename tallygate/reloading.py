"""The configuration read again on SIGHUP, and who hears it.

A new configuration is read and checked as a whole before anything changes.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from tallygate.certificates import Certificate
from tallygate.changes import AT_ONCE, OF_CONTROL, Change, difference, merged
from tallygate.config import Config, ConfigInvalid, load
from tallygate.stopping import Stop

log = logging.getLogger("tallygate")


def said_of(problem: Exception) -> str:
    """Why a configuration was not taken over, as one line."""
    return "; ".join(str(problem).splitlines())


async def read_again(running: Config, path: Path) -> tuple[Config, Change] | None:
    """For a supervisor: the configuration its processes run from now on, and what changed in it.

    None for one with a fault, which is said.
    """
    try:
        read = await to_thread.run_sync(load, path, os.environ)
    except ConfigInvalid as invalid:
        log.error("nothing changes: %s", said_of(invalid))  # noqa: TRY400
        return None
    change = difference(running, read)
    say_what_waits(change, supervised=True)
    taken = AT_ONCE | (OF_CONTROL if change.renews_control else frozenset())
    return merged(running, read, taken), change


def say_what_waits(change: Change, *, supervised: bool) -> None:
    """Name what only a restart takes over."""
    if waiting := change.waits(supervised=supervised):
        log.warning("left as it was until a restart: %s", ", ".join(waiting))


@asynccontextmanager
async def kept_up(
    stop: Stop, certificate: Certificate | None, again: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """While the block lasts: at each SIGHUP, certificate and configuration are read again.

    A certificate is read also when its files change.
    """
    async with anyio.create_task_group() as group:
        group.start_soon(_heed_hangups, stop, certificate, again)
        if certificate is not None:
            group.start_soon(certificate.keep_up)
        yield
        group.cancel_scope.cancel()


async def _heed_hangups(
    stop: Stop, certificate: Certificate | None, again: Callable[[], Awaitable[None]]
) -> None:
    while True:
        await stop.hung_up()
        if certificate is not None:
            await certificate.reload()
        await again()
