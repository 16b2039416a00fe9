"""Watches whether billing is stopped because the ledger was set back, and says so once."""

import logging
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.push_log import PushLog
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from billing_sync.store.stops import Stop
from metering.clock import Clock

log = logging.getLogger("tallygate.sync")


@dataclass
class Halt:
    """What the last look at the ledger and the push log said. `stop` is None while all is well."""

    engine: Engine
    log: PushLog
    clock: Clock
    stop: Stop | None = None

    async def look(self) -> Stop | None:
        """Hold the ledger against the push log; the stop, if billing is stopped.

        Raises SQLAlchemyError, and OSError when the log cannot be read.
        """
        before, self.stop = self.stop, await to_thread.run_sync(self._look)
        if self.stop is not None and before is None:
            log.error(
                "the ledger was set back to a backup (%s): nothing is recorded or pushed until "
                "you run `tallygate recover`",
                self.stop.reason,
            )
        elif self.stop is None and before is not None:
            log.warning("recording and pushing go on")
        return self.stop

    def _look(self) -> Stop | None:
        newest = self.log.newest()
        with reading(self.engine) as session:
            if stops.knows(session, newest):
                return stops.stopped(session)
        with writing(self.engine) as session:
            stops.may_bill(session, newest, self.clock.now_ms())
            return stops.stopped(session)
