"""An installation to reconcile: real lanes, a real Valkey and a real ledger, driven by hand."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.closing import Closer
from billing_sync.drain import Drainer
from billing_sync.models import CustomerRow, Instance
from billing_sync.store import ledger
from billing_sync.store.engine import writing
from gateway.recorder import Recorder
from metering.catalogue import Product, catalogue
from metering.counters import Counters
from metering.journal import Journal
from metering.lanes import LaneFolder
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
from metering.windows import HOUR_MS
from tallygate.config import parse
from tallygate.installation import Installation
from tallygate.reconciliation.opening import Stores
from tallygate.reconciliation.reconciling import reconcile
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.terms import EVERYTHING, Span
from tests.fakes import FakeClock, Ids

HOUR: Final = 480_000  # a window of the past: to the retention no file is old
START: Final = HOUR * HOUR_MS
MINUTE: Final = 60_000
PARTITIONS: Final = 4
CATALOGUE: Final = catalogue(
    [
        Product(product_id="TOKENS", meter="tokens_total", unit=1000),
        Product(product_id="MILLIONS", meter="tokens_total", unit=1_000_000),
    ]
)

NewLane = Callable[..., Journal]


def installation(data_dir: Path) -> Installation:
    """One whose journals lie in `data_dir/journal`."""
    text = f"{{data_dir: {data_dir}, partitions: {PARTITIONS}, redis: 'redis://127.0.0.1:1'}}"
    return Installation(parse(text, {}, base=data_dir))


@dataclass
class Site:
    """Calls are served, counted, drained and closed as told; `clock` is everybody's."""

    folder: Path
    redis: Redis
    engine: Engine
    new_lane: NewLane
    clock: FakeClock = field(default_factory=lambda: FakeClock(START + 10 * MINUTE))

    def __post_init__(self) -> None:
        ids = Ids()
        ledger.set_up(self.engine, PARTITIONS, ids, self.clock.now_ms())
        self.counters = Counters(self.redis)
        self.drainer = Drainer(self.engine, self.counters, CATALOGUE, self.clock, ids)
        self.stores = Stores(installation(self.folder), self.engine, self.counters, self.clock)
        self.lanes: dict[str, tuple[Journal, Recorder]] = {}
        self._calls = 0

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def lane(self, name: str) -> Journal:
        """The lane, opened when it is first asked for."""
        if name not in self.lanes:
            lane = self.new_lane(name, PARTITIONS, self.clock)
            self.lanes[name] = (lane, Recorder(lane, self.counters, self.clock, PARTITIONS))
        return self.lanes[name][0]

    def call(
        self,
        lane: str = "lane-1",
        customer: str = "a",
        tokens: int = 3,
        *,
        instance: str = "",
        slot: int | None = None,
        outcome: Outcome = Outcome.COMPLETE,
    ) -> UsageRecord:
        """A call has ended now; without tokens it is an error."""
        self._calls += 1
        used = {"requests": 1, "tokens_in": tokens, "tokens_total": 2 * tokens} if tokens else {}
        charges = (Charge(instance, "tokens_total"),) if instance else ()
        record = UsageRecord(
            request_id=str(UUID(int=self._calls, version=4)),
            time_ms=self.clock.now_ms(),
            account=Account(customer, "chat", charges),
            status=200 if used else 400,
            outcome=outcome,
            quantities={meter: Quantity(value, Grade.EXACT) for meter, value in used.items()},
        )
        self.lane(lane).append(record, slot)
        return record

    def calls(self, count: int, lane: str = "lane-1", customer: str = "a") -> None:
        """So many, of different customers in different partitions unless one is named."""
        for number in range(count):
            self.call(lane, customer or f"cust-{number % 9}", number % 5 + 1)

    async def flush(self, *lanes: str) -> None:
        """The lanes (default: all) bring to Redis what they hold."""
        for name in lanes or self.lanes:
            assert await self.lanes[name][1].flush(0.0, probe=True) is not None

    async def drain(self) -> None:
        """Redis goes to the ledger, and the lanes hear of it."""
        await self.drainer.drain_all(PARTITIONS)
        await self.flush()

    def buy(self, instance: str, customer: str = "a", product: str = "TOKENS") -> None:
        """An instance of the marketplace that is billed by tokens."""
        with writing(self.engine) as session:
            session.add(CustomerRow(id=customer))
            session.add(
                Instance(
                    id=instance,
                    customer_id=customer,
                    product_id=product,
                    status="active",
                    started=START,
                )
            )

    def close(self) -> None:
        """Every hour that is over becomes usage records."""
        now_ms = self.clock.now_ms()
        through = now_ms // HOUR_MS * HOUR_MS
        for partition in range(PARTITIONS):
            Closer(self.engine, CATALOGUE).close(partition, through_ms=through, now_ms=now_ms)

    def as_left_behind(self, name: str, *lanes: str) -> Stores:
        """A disk with these lanes (default: all) as a kill at this moment leaves them."""
        other = self.folder / name
        for lane in lanes or self.lanes:
            shutil.copytree(self.journal / lane, other / "journal" / lane)
        return replace(self.stores, installation=installation(other))

    async def report(self, stores: Stores | None = None, span: Span = EVERYTHING) -> Report:
        """Reconcile, on this disk or another one."""
        return await reconcile(stores or self.stores, span, lambda _: None)


def folder_of(stores: Stores, lane: str) -> LaneFolder:
    """A lane of that disk."""
    return LaneFolder(stores.installation.journal_dir / lane)
