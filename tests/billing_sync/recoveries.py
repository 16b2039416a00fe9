"""A whole control plane with its ledger, to be backed up, set back, and recovered."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from billing_sync.drain import Drainer
from billing_sync.koogallery.outcomes import Kind, PushOutcome
from billing_sync.models import Ahead, Instance, UsageRecord, UsageWindow
from billing_sync.parts import new_id
from billing_sync.recovery import Recovered, recover
from billing_sync.runner import Runner
from billing_sync.store import ledger
from billing_sync.store.engine import reading
from metering.catalogue import Catalogue
from metering.connection import Store
from metering.counters import Counters
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, SECOND, Books
from tests.billing_sync.lanes import KeepingLane
from tests.billing_sync.pushing import ACCEPTED, Marketplace, log_of, outbox_of
from tests.databases import Database

GRACE_MS = 120_000
NO_ANSWER = PushOutcome(Kind.AMBIGUOUS, "ReadTimeout", "no answer after sending")


class Plane:
    """One partition, two lanes with journals, a marketplace, instances `i` and `j`."""

    def __init__(self, database: Database, redis: Store, products: Catalogue = CATALOGUE) -> None:
        self.database = database
        self.redis = redis
        self.catalogue = products
        self.engine = database.open()
        self.books = Books(self.engine, products)
        self.clock = self.books.clock
        self.lanes = [KeepingLane(redis, f"lane{number}") for number in range(2)]
        self.market = Marketplace()
        self.backups = 0
        self.used: dict[str, int] = {}
        self.runner = self.another_runner()

    def another_runner(self) -> Runner:
        """One more control plane."""
        return Runner(
            engine=self.engine,
            redis=self.redis,
            drainer=Drainer(self.engine, Counters(self.redis), self.catalogue, self.clock, new_id),
            outbox=outbox_of(self.engine, self.market, self.clock, batch_size=2),
            catalogue=self.catalogue,
            partitions=1,
            grace_ms=GRACE_MS,
            clock=self.clock,
        )

    def use(self, instance_id: str, quantity: int, *, lane: int = 0, hours: int = 0) -> None:
        """A record in a lane's journal, of this hour or so many hours from it."""
        window = self.clock.now_ms() // HOUR_MS + hours
        self.lanes[lane].record(0, quantity, instance_id=instance_id, window=window)
        self.used[instance_id] = self.used.get(instance_id, 0) + quantity

    async def flush(self, lanes: Iterable[int] = (0, 1)) -> None:
        """Lanes bring what Redis lacks, and say so."""
        for number in lanes:
            if await self.lanes[number].flush():
                await self.lanes[number].beat(self.clock.now_ms())

    async def to_the_next_hour(self) -> None:
        """Two seconds into it; everything is brought and the hour before is closed and pushed."""
        self.books.to_the_next_hour()
        await self.flush()
        await self.runner.sync()
        await self.runner.outbox.push_due()

    def back_up(self) -> int:
        """A backup, as a merchant makes it while the ledger is in use; its number."""
        self.backups += 1
        return self.database.back_up()

    def restore(self, number: int = -1) -> None:
        """The control plane ends, the ledger is set back to a backup, the control plane starts."""
        self.engine.dispose()
        self.database.restore(number)
        self.start_again()

    def delete(self) -> None:
        """The operator deletes the ledger, and the control plane makes a new one."""
        self.engine.dispose()
        self.database.empty()
        self.start_again()
        ledger.set_up(self.engine, 1, iter(new_id, ""))

    def start_again(self) -> None:
        """The control plane starts, with what there is."""
        self.engine = self.books.engine = self.database.open()
        self.runner = self.another_runner()

    def recover(self) -> Recovered:
        """What the command does."""
        return recover(self.engine, log_of(self.engine), self.catalogue, self.clock.now_ms())

    def is_halted(self) -> bool:
        """Whether the control plane has found billing stopped."""
        return self.runner.halt.stop is not None

    def all(self, table: type[Any]) -> list[Any]:
        """Every row."""
        return self.books.all(table)

    async def come_to_rest(self) -> None:
        """Everything that was used arrives, is closed and pushed; billing was let go on before."""
        for _ in range(3):
            await self.flush()
            await self.runner.sync()
            self.clock.advance(ms=GRACE_MS + SECOND)
        self.market.judge = lambda _: ACCEPTED
        for _ in range(3):
            self.books.to_the_next_hour()
            await self.flush()
            await self.runner.sync()
            self.clock.advance(seconds=130)
            await self.runner.outbox.push_due()

    def audit(self) -> None:
        """At rest: what the marketplace has is what was used, once, and the ledger agrees."""
        records = {record.metering_sn: record for record in self.all(UsageRecord)}
        assert {record.state for record in records.values()} <= {"sent", "collected"}
        assert self.market.taken.keys() == records.keys()
        assert self.all(Ahead) == []
        for instance_id, used in self.used.items():
            self.books.audit(instance_id, unit=self._unit(instance_id))
            rows = [row for row in self.all(UsageWindow) if row.instance_id == instance_id]
            assert sum(row.quantity for row in rows) == used
            assert sum(row.quantity - row.recorded for row in rows) == 0
        self.books.audit_packages()

    def _unit(self, instance_id: str) -> int:
        with reading(self.engine) as session:
            instance = session.get_one(Instance, instance_id)
        return self.catalogue[instance.product_id].unit

    def pushed(self, *, package: str = "") -> Decimal:
        """What the marketplace has in billing units, with or without a package."""
        return sum(
            (
                Decimal(record["usage_value"])
                for record in self.market.taken.values()
                if record.get("relate_pkg_instance", "") == package
            ),
            Decimal(0),
        )
