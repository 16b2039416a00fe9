"""Projects entitlements from SQL to Redis: from an outbox row, at once and until it succeeds.

1. read the outbox rows and the snapshots     2. put the snapshots in Redis     3. delete the rows
A crash between any two repeats the put, which changes nothing. A row that was renewed in between
stays, because its time differs.
"""

from dataclasses import dataclass

from anyio import to_thread
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.models import ProjectionOutbox
from billing_sync.store import lifecycle
from billing_sync.store.engine import reading, writing
from metering import entitlements
from metering.entitlement import EntitlementSnapshot

_BATCH = 500


@dataclass
class Projector:
    """Empties the projection outbox into Redis."""

    engine: Engine
    redis: Redis
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

    async def project_all(self) -> None:
        """Put every customer's snapshot again: after Redis was emptied, and at start."""
        await entitlements.put(self.redis, await to_thread.run_sync(self._all))

    def _waiting(self) -> tuple[list[ProjectionOutbox], list[EntitlementSnapshot]] | None:
        with reading(self.engine) as session:
            rows = lifecycle.pending_projections(session, _BATCH)
            if not rows:
                return None
            return rows, lifecycle.snapshots(session, [row.customer_id for row in rows])

    def _finish(self, rows: list[ProjectionOutbox]) -> None:
        with writing(self.engine) as session:
            for row in rows:
                lifecycle.projection_done(session, row.customer_id, row.since)

    def _all(self) -> list[EntitlementSnapshot]:
        with reading(self.engine) as session:
            return lifecycle.snapshots(session, None)
