"""Takes findings from Redis into the ledger. The order, and what a crash after each step leaves:

1. read what waits             nothing changed
2. one SQL transaction         each identity once; the next run finds it there already
3. mark as taken in Redis      done
"""

from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.store import findings as store
from billing_sync.store.engine import writing
from metering import findings
from metering.connection import Store
from metering.findings import Finding


@dataclass
class FindingImporter:
    """Imports findings; `imported` counts those that were new, `unreadable` those of the last look."""

    engine: Engine
    redis: Store = field(repr=False)
    imported: int = 0
    unreadable: int = 0

    async def run(self) -> None:
        """One bounded run. Raises MeteringError or SQLAlchemyError."""
        waiting = await findings.read(self.redis)
        self.unreadable = waiting.unreadable
        if waiting.findings:
            self.imported += await to_thread.run_sync(self._insert, waiting.findings)
            await findings.taken(self.redis, [each.identity for each in waiting.findings])

    def _insert(self, found: list[Finding]) -> int:
        with writing(self.engine) as session:
            return store.insert(session, found)
