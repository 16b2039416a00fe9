"""Takes findings from Redis into the ledger. The order, and what a crash after each step leaves:

1. read what waits             nothing changed
2. one SQL transaction         each identity once; the next run finds it there already
3. mark as taken in Redis      done

What the ledger's own checkpoints contradict is no finding: it was said of a Redis, or of a ledger,
that has been set back since. It is let go of, and whoever said it looks again.
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
            new, untrue = await to_thread.run_sync(self._insert, waiting.findings)
            self.imported += new
            true = [each.identity for each in waiting.findings if each not in untrue]
            await findings.taken(self.redis, true)
            await findings.drop(self.redis, [each.identity for each in untrue])

    def _insert(self, found: list[Finding]) -> tuple[int, list[Finding]]:
        """How many were new, and those that are not true."""
        with writing(self.engine) as session:
            untrue = [each for each in found if store.contradicted(session, each)]
            return store.insert(session, (each for each in found if each not in untrue)), untrue
