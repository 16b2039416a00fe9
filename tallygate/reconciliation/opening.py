"""Opens the stores of an installation for reading. Nothing is set up, started or changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click
from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.store import ledger
from billing_sync.store.engine import reading
from metering.clock import Clock, SystemClock
from metering.connection import Store
from metering.counters import Counters
from tallygate.installation import Installation
from tallygate.ledgers import ledger_file, open_ledger


class NothingToReconcile(click.ClickException):
    """The installation has not been started yet."""


@dataclass(frozen=True)
class Stores:
    """Where an installation counts, opened for reading."""

    installation: Installation
    engine: Engine
    counters: Counters
    clock: Clock

    def partitions(self) -> list[int]:
        """Every partition. Raises NothingToReconcile, PartitionsDiffer."""
        with reading(self.engine) as session:
            found = sorted(ledger.places(session))
        if not found:
            raise NothingToReconcile("the ledger is empty; `tallygate serve` sets it up")
        configured = self.installation.config.partitions
        if len(found) != configured:
            raise ledger.PartitionsDiffer(
                f"partitions: {configured} in the configuration, but this ledger was made with "
                f"{len(found)}; the number is fixed at first start"
            )
        return found


@asynccontextmanager
async def opened(installation: Installation) -> AsyncIterator[Stores]:
    """Ledger and Redis for as long as the block lasts. Raises NothingToReconcile."""
    path = ledger_file(installation)
    if path is not None and not path.exists():
        raise NothingToReconcile(f"there is no ledger at {path}; `tallygate serve` makes it")
    engine = await to_thread.run_sync(open_ledger, installation)
    redis: Store = installation.redis()
    try:
        yield Stores(installation, engine, Counters(redis), SystemClock())
    finally:
        engine.dispose()
        await redis.aclose()
