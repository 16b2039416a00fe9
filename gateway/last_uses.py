"""Tells Redis which API keys were used since the last time: every few seconds, not with each call.

What is told is told once more by the next turn: a Redis that was emptied before the control plane
had taken it over hears of it again.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio

from metering import key_uses
from metering.clock import Clock
from metering.connection import Store
from metering.errors import MeteringError

TELL_S: Final = 3.0
_LAST_S: Final = 1.0  # what the end of a worker waits for it


class LastUses:
    """Of one worker. `take` gives the ids of the keys used since it was called last."""

    def __init__(self, store: Store, clock: Clock, take: Callable[[], set[str]]) -> None:
        self._store = store
        self._clock = clock
        self._take = take
        self._waiting: dict[str, int] = {}
        self._told: dict[str, int] = {}

    async def tell(self) -> None:
        """One turn; what Redis does not take waits for the next one."""
        used = self._take()
        used.discard("")  # callers without a key
        self._waiting |= dict.fromkeys(used, self._clock.now_ms())
        everything = self._told | self._waiting
        if not everything:
            return
        with suppress(MeteringError):
            await key_uses.tell(self._store, everything)
            self._told, self._waiting = self._waiting, {}

    async def tell_forever(self, every_s: float = TELL_S) -> None:
        """Until cancelled, and then once more."""
        try:
            while True:
                await self.tell()
                await anyio.sleep(every_s)
        finally:
            with anyio.move_on_after(_LAST_S, shield=True):
                await self.tell()
