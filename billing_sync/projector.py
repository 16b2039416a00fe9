"""Projects entitlements from SQL to Redis: from an outbox row, at once and until it succeeds.

1. read the outbox rows and the snapshots     2. put the snapshots in Redis, and once more those
that changed since they were read     3. delete the rows
A crash between any two repeats the put, which changes nothing. A row that was renewed in between
stays, because its time differs.

Redis may also forget or go back: every minute, and as soon as counters were lost, what stands there
is compared with SQL and the customers that differ are put again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.store import projections
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import Pending
from billing_sync.store.usage import customer_ids
from metering import entitlements
from metering.clock import Clock
from metering.connection import Store
from metering.entitlement import EntitlementSnapshot

COMPARE_MS: Final = 60_000
_BATCH: Final = 500


@dataclass
class Projector:
    """Empties the projection outbox into Redis. `losses()` counts how often Redis lost counters."""

    engine: Engine
    redis: Store = field(repr=False)
    clock: Clock
    losses: Callable[[], int] = lambda: 0
    projected: int = 0

    def __post_init__(self) -> None:
        self._compared_ms = 0  # never yet: the first run compares
        self._losses_seen = 0

    async def run(self) -> None:
        """One turn. Raises MeteringError or SQLAlchemyError; what is left is found by the next."""
        await self.project_pending()
        losses = self.losses()
        now_ms = self.clock.now_ms()
        if losses == self._losses_seen and abs(now_ms - self._compared_ms) < COMPARE_MS:
            return
        await self.project_differing()
        self._losses_seen, self._compared_ms = losses, now_ms

    async def project_pending(self) -> int:
        """Project every waiting customer; how many. Raises MeteringError when Redis is away."""
        done = 0
        while work := await to_thread.run_sync(self._waiting):
            rows, snapshots = work
            await self._put(snapshots)
            await to_thread.run_sync(self._finish, rows)
            done += len(rows)
        self.projected += done
        return done

    async def project_differing(self) -> int:
        """Compare Redis with SQL and put who differs; how many. Raises MeteringError.

        Straight from SQL, without rows in the outbox: they would hold the ledger's only writer for
        as long as there are customers. A change meanwhile has its row and is put after this.
        """
        there = await entitlements.get_all(self.redis)
        by_id = {snapshot.customer_id: snapshot for snapshot in there.snapshots}
        everyone = await to_thread.run_sync(self._everyone)
        done = 0
        for start in range(0, len(everyone), _BATCH):
            batch = await to_thread.run_sync(self._snapshots, everyone[start : start + _BATCH])
            differing = [s for s in batch if by_id.get(s.customer_id) != s]
            await self._put(differing)
            done += len(differing)
        self.projected += done
        return done

    async def _put(self, snapshots: list[EntitlementSnapshot]) -> None:
        """Put them, and again whoever changed since they were read: another control plane may have
        put the newer ones before us."""
        while snapshots:
            await entitlements.put(self.redis, snapshots)
            known = {snapshot.customer_id: snapshot for snapshot in snapshots}
            now = await to_thread.run_sync(self._snapshots, list(known))
            snapshots = [s for s in now if s != known[s.customer_id]]

    def _everyone(self) -> list[str]:
        with reading(self.engine) as session:
            return customer_ids(session)

    def _snapshots(self, customer_ids: list[str]) -> list[EntitlementSnapshot]:
        with reading(self.engine) as session:
            return projections.snapshots(session, customer_ids)

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
