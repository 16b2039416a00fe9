"""A worker that starts on a full disk: it refuses every call until its journal has room.

Without it nobody would answer at all, for the sockets are bound as long as the service runs.
"""

import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import anyio

from metering.errors import JournalFull
from tallygate.stopping import Stop

log = logging.getLogger("tallygate.gateway")

T = TypeVar("T")

_AGAIN_S: Final = 1.0


async def once_there_is_room(
    make: Callable[[], T], refuse: Callable[[Stop], Coroutine[Any, Any, None]], stop: Stop
) -> T | None:
    """What `make` makes, as soon as it raises JournalFull no more; None when told to stop before.

    `refuse` serves meanwhile, until its own Stop is told.
    """
    try:
        return make()
    except JournalFull as full:
        log.error("%s; every call is refused until then", full)  # noqa: TRY400
    enough = Stop()
    async with anyio.create_task_group() as group:
        group.start_soon(refuse, enough)
        made = await _try_again(make, stop)
        enough.orphaned = stop.orphaned
        enough()
    if made is not None:
        log.warning("the journal has room again")
    return made


async def _try_again(make: Callable[[], T], stop: Stop) -> T | None:
    while not stop.told.is_set():
        with suppress(JournalFull):
            return make()
        with anyio.move_on_after(_AGAIN_S):
            await stop.told.wait()
    return None
