"""Erases buyers' data of instances that were released long enough ago.

An expired instance stays frozen for up to 15 days, in which it can be renewed and everything must be
there (spec §2.15); the marketplace then releases it. Only from the release on time counts here, so
nothing goes before it, however long a release takes. Each batch is one transaction: a crash leaves
the next run to do what was not done.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from billing_sync.store import erasing
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock

_log = logging.getLogger(__name__)

EVERY_MS: Final = 60_000
_BATCH: Final = 100


@dataclass
class Eraser:
    """Looks once a minute; `keep_ms` is how long data outlive a release."""

    sql: SqlWorker
    clock: Clock
    keep_ms: int
    on_change: Callable[[], None]
    _looked_ms: int = 0

    async def run(self) -> int:
        """For how many instances data were erased. Raises SQLAlchemyError."""
        now = self.clock.now_ms()
        if 0 <= now - self._looked_ms < EVERY_MS:
            return 0
        erased = await self.sql.write(
            partial(erasing.erase, released_until=now - self.keep_ms, at=now, limit=_BATCH)
        )
        if len(erased) < _BATCH:
            self._looked_ms = now
        if erased:
            _log.info("buyers' data of %d released instances were erased", len(erased))
            self.on_change()
        return len(erased)
