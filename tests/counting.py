"""Usage on its way from a gateway's lane to the ledger, by the real parts of both planes."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from sqlalchemy import Engine

from billing_sync.drain import Drainer
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from gateway.recorder import Recorder
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters
from metering.errors import MeteringError
from metering.journal import Durability, Journal
from tests.fakes import FakeClock, Ids, usage_record

PARTITIONS: Final = 8
_CUSTOMERS: Final = 24
_PATIENCE_S: Final = 30.0


class Counting:
    """One lane, one control plane, one store that may be in trouble."""

    def __init__(self, store: Store, engine: Engine, folder: Path) -> None:
        ids, clock = Ids(), FakeClock()
        ledger.set_up(engine, PARTITIONS, ids)
        self.engine = engine
        self.journal = _journal(folder, clock)
        self.recorder = Recorder(self.journal, Counters(store), clock, PARTITIONS)
        self.drainer = Drainer(engine, Counters(store), {}, clock, ids)
        self.recorded = 0
        self._calls = 0

    def record(self, calls: int) -> None:
        """So many calls of many customers have ended."""
        for _ in range(calls):
            self._calls += 1
            tokens = self._calls % 7 + 1
            customer = f"cust-{self._calls % _CUSTOMERS}"
            self.recorder.record(usage_record(customer, tokens_in=tokens))
            self.recorded += tokens

    async def flush(self) -> bool:
        """Bring everything to the store; whether it took all of it."""
        return await self.recorder.flush(anyio.current_time(), probe=True) is not None

    async def drain(self) -> None:
        """Bring what the store holds to the ledger, as far as that can be reached."""
        with suppress(MeteringError):
            await self.drainer.drain_all(PARTITIONS)

    async def load(self, turns: int) -> None:
        """Count and drain, as the planes do, whatever becomes of it."""
        for _ in range(turns):
            self.record(20)
            await self.flush()
            await self.drain()
            await anyio.sleep(0.01)

    async def settle(self) -> None:
        """Return when the ledger holds what was recorded. It never holds more."""
        with anyio.fail_after(_PATIENCE_S):
            while self.in_ledger() != self.recorded:
                await self.flush()
                await self.drain()
                await anyio.sleep(0.05)
        assert await self.flush()  # and nothing comes after
        await self.drain()
        assert self.in_ledger() == self.recorded

    def in_ledger(self) -> int:
        """Everything that was ever booked."""
        with reading(self.engine) as session:
            booked = ledger.totals(session).get("tokens_in", 0)
        assert booked <= self.recorded, f"{booked} booked where {self.recorded} were used"
        return booked

    def close(self) -> None:
        """Let go of the lane's files."""
        self.journal.close()


def _journal(folder: Path, clock: Clock) -> Journal:
    return Journal(folder, "lane-1", PARTITIONS, Durability(segment_bytes=1 << 20), clock)
