"""A control plane for tests of what lies below it: drains, and takes findings into the ledger."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from uuid import uuid4

import anyio
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.drain import Drainer
from billing_sync.finding_models import FindingRow
from billing_sync.importing import FindingImporter
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters
from metering.errors import MeteringError
from tests.fakes import Ids

Named = tuple[str, str, str, int, int, int]  # kind, lane, request id, partition, first, last


def _new_id() -> str:
    return uuid4().hex


class ControlPlane:
    """One of them, over the given ledger."""

    def __init__(self, engine: Engine, store: Store, partitions: int, clock: Clock) -> None:
        self.engine = engine
        self.partitions = partitions
        ledger.set_up(engine, partitions, Ids(_new_id()))
        self.drainer = Drainer(engine, Counters(store), {}, clock, _new_id)
        self.importer = FindingImporter(engine, store)

    async def turn(self) -> None:
        """Once around. Raises MeteringError while Redis is away."""
        await self.drainer.drain_all(self.partitions)
        await self.importer.run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It goes round for as long as the block lasts."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._forever)
            yield
            group.cancel_scope.cancel()

    async def _forever(self) -> None:
        while True:
            with suppress(MeteringError):
                await self.turn()
            await anyio.sleep(0.01)

    def tokens(self) -> int:
        """Everything that was ever booked."""
        with reading(self.engine) as session:
            return ledger.totals(session).get("tokens_in", 0)

    def named(self) -> set[Named]:
        """The findings that the ledger has."""
        with reading(self.engine) as session:
            return {
                (row.kind, row.lane, row.request_id, row.partition, row.first, row.last)
                for row in session.exec(select(FindingRow))
            }


def save(engine: Engine, path: Path) -> None:
    """A backup of the ledger, as it stands now."""
    _copy(engine.url.database or "", str(path))


def set_back(engine: Engine, path: Path) -> None:
    """Restore the backup under whoever uses the ledger."""
    engine.dispose()
    _copy(str(path), engine.url.database or "")


def _copy(source: str, target: str) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
