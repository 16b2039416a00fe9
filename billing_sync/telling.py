"""Tells the lending bank what the ledger has left of packages.

1. read versions and balances      one snapshot
2. tell the bank                   older ones than it has change nothing
3. note what was told              seldom, many at once: telling again is harmless
A crash between any two repeats from 1. A drain is told between its commit and its drop (see drain.py),
any other change at once and until it succeeds.

The bank may also forget: partition after partition is compared with SQL, and what differs is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.store import balance_versions, ledger, lendable
from billing_sync.store.balance_versions import Due
from billing_sync.store.engine import reading, writing
from metering.bank import Bank
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.lending import Balance, customer_of

_BATCH: Final = 500


class News(NamedTuple):
    """What a partition's bank lacks."""

    partition: int
    epoch: str
    due: list[Due]
    balances: list[Balance]


@dataclass
class Teller:
    """Tells. Any number of control planes may do so at once. `told` counts customers, `differed` those
    of whom the bank was found to know something else."""

    engine: Engine
    bank: Bank = field(repr=False)
    catalogue: Catalogue
    partitions: int
    clock: Clock
    told: int = 0
    differed: int = 0

    def __post_init__(self) -> None:
        self._known: dict[str, Due] = {}  # the newest that were told, in this process
        self._noted: dict[str, Due] = {}  # those of them of which SQL does not know yet
        self._compared = -1  # the last partition; all are at first

    # --- what changed -------------------------------------------------------------------

    async def run(self) -> None:
        """One turn: all that is due, and one partition compared; at first all of them.

        Raises MeteringError or SQLAlchemyError; what is left is found by the next.
        """
        if self._compared < 0:
            await to_thread.run_sync(self._begin)
        await self._note()
        while news := await to_thread.run_sync(self._due, None):
            done = [await self.tell(each) for each in news]
            await self._note()
            if not all(done):
                return  # an epoch is over; the partition is being reset
        everything = list(range(self.partitions))
        turn = everything if self._compared < 0 else [(self._compared + 1) % self.partitions]
        for partition in turn:
            await self._compare(partition)
        self._compared = turn[-1]

    def due_in(self, session: Session, partition: int) -> News | None:
        """What a drain of the partition must tell before it is dropped; None as good as always."""
        due = balance_versions.due(session, partition, limit=1_000_000)
        new = [one for one in due if self._known.get(one.customer_id) != one]
        return self._news(session, new) if new else None

    async def tell_partition(self, partition: int) -> bool:
        """All that is due in a partition: after its reset."""
        news = await to_thread.run_sync(self._due, partition)
        return all([await self.tell(each) for each in news])

    async def tell(self, news: News | None) -> bool:
        """False when the partition has another epoch by now. Raises MeteringError."""
        if news is None:
            return True
        if not await self.bank.tell(news.partition, news.epoch, news.balances):
            return False
        told = {one.customer_id: one for one in news.due}
        self._known |= told
        self._noted |= told
        self.told += len(told)
        return True

    def _due(self, partition: int | None) -> list[News]:
        with reading(self.engine) as session:
            due = balance_versions.due(session, partition, _BATCH)
            by_partition = sorted(due, key=lambda one: one.partition)
            groups = groupby(by_partition, key=lambda one: one.partition)
            return [self._news(session, list(each)) for _, each in groups]

    def _news(self, session: Session, due: list[Due]) -> News:
        customers = [one.customer_id for one in due]
        found = lendable.of_customers(session, customers, self.catalogue, self.clock.now_ms())
        balances = [balance for each in found.values() for balance in each]
        return News(due[0].partition, due[0].epoch, due, balances)

    async def _note(self) -> None:
        """Step 3."""
        noted, self._noted = self._noted, {}
        if noted:
            await to_thread.run_sync(self._write_told, list(noted.values()))

    def _write_told(self, told: list[Due]) -> None:
        with writing(self.engine) as session:
            balance_versions.were_told(session, told)

    def _begin(self) -> None:
        """Customers with packages from before there were versions, or from the configuration."""
        with writing(self.engine) as session:
            balance_versions.raise_missing(session)

    # --- what the bank forgot -----------------------------------------------------------

    async def _compare(self, partition: int) -> None:
        there = await self.bank.all_balances(partition)  # first: SQL is never older
        known = await to_thread.run_sync(self._known_of, partition)
        found = differing(there, known.balances)
        if found.stale:
            await self.bank.tell(partition, known.epoch, found.stale)
        if found.wrong:
            await to_thread.run_sync(self._raise, found.wrong)
            await self.tell_partition(partition)
        self.differed += len(found.stale) + len(found.wrong)

    def _known_of(self, partition: int) -> News:
        with reading(self.engine) as session:
            customers = balance_versions.customers(session, partition)
            found = lendable.of_customers(session, customers, self.catalogue, self.clock.now_ms())
            balances = [balance for each in found.values() for balance in each]
            return News(partition, ledger.place(session, partition).epoch, [], balances)

    def _raise(self, wrong: Mapping[str, int]) -> None:
        with writing(self.engine) as session:
            for account, version in wrong.items():
                balance_versions.raise_above(session, customer_of(account), version)


class Differing(NamedTuple):
    """What the bank must be told as it is, and the accounts of which SQL needs a newer version than
    that which the bank has."""

    stale: list[Balance]
    wrong: dict[str, int]


def differing(there: Mapping[str, Balance], should: Iterable[Balance]) -> Differing:
    """What the bank has and should have, compared. Pure.

    A version above SQL's is of a ledger that was set back; one that says something else, of another
    configuration. Accounts that are no more hold nothing.
    """
    stale: list[Balance] = []
    wrong: dict[str, int] = {}
    gone = dict(there)
    for balance in should:
        had = gone.pop(balance.account, None)
        if had is None or had.version < balance.version:
            stale.append(balance)
        elif had.version > balance.version or had.parts != balance.parts:
            wrong[balance.account] = had.version
    over = [had for had in gone.values() if had.parts]
    stale += [had._replace(version=had.version + 1, parts=()) for had in over]
    return Differing(stale, wrong)
