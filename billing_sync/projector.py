"""Projects entitlements from SQL to Redis: from an outbox row, at once and until it succeeds.

1. read the outbox rows and the snapshots     2. put the snapshots in Redis     3. delete the rows
A crash between any two repeats the put, which changes nothing. A row that was renewed in between
stays, because its time differs.
"""

from dataclasses import dataclass

from anyio import to_thread
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.store import projections
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import Pending
from metering import entitlements
from metering.clock import Clock
from metering.entitlement import EntitlementSnapshot

_BATCH = 500


@dataclass
class Projector:
    """Empties the projection outbox into Redis."""

    engine: Engine
    redis: Redis
    clock: Clock
    projected: int = 0

    async def project_pending(self) -> int:
        """Project every waiting customer; how many. Raises MeteringError when Redis is away."""
        done = 0
        while work := await to_thread.run_sync(self._waiting):
            rows, snapshots = work
            await entitlements.put(self.redis, snapshots)
            await to_thread.run_sync(self._finish, rows)
            done += len(rows)
        self.projected += done
        return done

    async def project_everyone(self) -> None:
        """Put every customer again: at start, for a Redis that may have lost what it held."""
        await to_thread.run_sync(self._enqueue_everyone)
        await self.project_pending()

    def _enqueue_everyone(self) -> None:
        with writing(self.engine) as session:
            projections.enqueue_everyone(session, self.clock.now_ms())

    def _waiting(self) -> tuple[list[Pending], list[EntitlementSnapshot]] | None:
        with reading(self.engine) as session:
            rows = projections.pending_projections(session, _BATCH)
            if not rows:
                return None
            return rows, projections.snapshots(session, [row.customer_id for row in rows])

    def _finish(self, rows: list[Pending]) -> None:
        with writing(self.engine) as session:
            for row in rows:
                projections.projection_done(session, row.customer_id, row.since)
