"""Reads every instance's account and adds them up, one after the other: memory does not grow with them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine

from billing_sync.records import SCALE
from billing_sync.store import balancing as store
from billing_sync.store.engine import reading
from tallygate.reconciliation.amounts import Difference
from tallygate.reconciliation.balance import Balance, Stand, balance
from tallygate.reconciliation.terms import Span

MOST_DIFFERENCES: Final = 10_000  # kept; the others are counted


@dataclass
class Total:
    """All instances of one meter; as Balance."""

    instances: int = 0
    used: int = 0
    open: int = 0
    waiting: int = 0
    unsold: int = 0
    ahead: int = 0
    adjusted: int = 0
    in_records: int = 0
    remainder: int = 0
    buckets: Counter[str] = field(default_factory=Counter)
    states: dict[str, Stand] = field(default_factory=dict)

    def add(self, one: Balance) -> None:
        """One more instance."""
        self.instances += 1
        self.used += one.used
        self.open += one.open
        self.waiting += one.waiting
        self.unsold += one.unsold
        self.ahead += one.ahead
        self.adjusted += one.adjusted
        self.in_records += one.in_records
        self.remainder += one.remainder
        self.buckets.update(one.buckets)
        for state, stand in one.states.items():
            self.states[state] = self.states.get(state, Stand()).plus(stand)

    @property
    def difference(self) -> int:
        """What stands in records, remainders and buckets too much, in ten-thousandths."""
        unrecorded = self.open + self.waiting + self.unsold
        must = (self.used - unrecorded + self.ahead + self.adjusted) * SCALE
        return self.in_records + self.remainder + sum(self.buckets.values()) * SCALE - must


@dataclass
class Settlement:
    """The second half of a reconciliation: from the ledger's usage to the marketplace."""

    totals: dict[str, Total] = field(default_factory=dict)  # by meter
    differences: list[Difference] = field(default_factory=list)
    more: int = 0  # differences that are only counted
    instances: int = 0

    @property
    def exact(self) -> bool:
        """Everything ties."""
        return not self.differences

    def add(self, one: Balance) -> None:
        """One more instance."""
        self.instances += 1
        self.totals.setdefault(one.meter, Total()).add(one)
        kept = one.differences[: MOST_DIFFERENCES - len(self.differences)]
        self.differences += kept
        self.more += len(one.differences) - len(kept)


def balances(engine: Engine, span: Span, at_once: int = store.AT_ONCE) -> Iterator[Balance]:
    """Every instance's account, in the order of their ids. Raises SQLAlchemyError."""
    after = ""
    while True:
        with reading(engine) as session:
            ids = store.instance_ids(session, after, at_once)
            for holding in store.holdings(session, ids):
                yield balance(holding, span)
        if len(ids) < at_once:
            return
        after = ids[-1]


def settle(engine: Engine, span: Span, seen: Callable[[Balance], None] | None = None) -> Settlement:
    """All accounts, added up; `seen` gets each of them as it passes. Raises SQLAlchemyError."""
    found = Settlement()
    for one in balances(engine, span):
        found.add(one)
        if seen is not None:
            seen(one)
    return found
