"""Usage as it stands now: the ledger plus what Redis still holds, each counted once.

The reading rule: Redis first, then one SQL snapshot. A set-aside whose id SQL already has is left
out; one that follows SQL's last id is added; anything else moved in between and is read again, and
after three tries, or a second without an answer from Redis, the ledger answers alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.errors import BadQuestion
from billing_sync.figures import UsageFigure
from billing_sync.models import Instance
from billing_sync.questions import MOST_CELLS, Usage, UsageFilter
from billing_sync.records import value_of
from billing_sync.store import ledger
from billing_sync.store import usage as store
from billing_sync.store.engine import reading
from billing_sync.store.packages import uses_of
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Counters
from metering.errors import MeteringError
from metering.partitions import partition_of
from metering.protocol import Content

_TRIES: Final = 3
_REDIS_BUDGET_S: Final = 1.0
_REMEMBERED: Final = 100_000

T = TypeVar("T")
Pair = tuple[Content | None, Content | None]


def pending_in_redis(pair: Pair, *, epoch: str, last: str) -> list[Content] | None:
    """Which of the two hashes the ledger does not hold yet; None when they do not fit it. Pure."""
    live, drain = pair
    if live is None or live.epoch != epoch:
        return None
    if drain is None:
        return [live] if live.last == last else None
    if drain.epoch != epoch or live.last != drain.id:
        return None
    if drain.id == last:
        return [live]
    return [live, drain] if drain.last == last else None


@dataclass(frozen=True, slots=True)
class _Moment(Generic[T]):
    """What the ledger said and what Redis held besides, at one instant."""

    ledger: T
    pending: list[Content]
    at_ms: int
    live: bool


@dataclass
class UsageView:
    """Answers questions about usage. Never raises for a Redis that is away."""

    engine: Engine
    counters: Counters
    catalogue: Catalogue
    partitions: int
    clock: Clock
    redis_budget_s: float = _REDIS_BUDGET_S

    def __post_init__(self) -> None:
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}

    async def usage(self, wanted: UsageFilter) -> Usage:
        """The matching usage. Raises BadQuestion when the answer would be too long."""
        moment = await self._moment(
            self._partitions_of(wanted), lambda s: store.cells(s, wanted, MOST_CELLS + 1)
        )
        cells = moment.ledger
        for content in moment.pending:
            for key, quantity in content.deltas.items():
                if wanted.matches(key):
                    cell = wanted.cell(key)
                    cells[cell] = cells.get(cell, 0) + quantity
        if len(cells) > MOST_CELLS:
            raise BadQuestion(
                f"the answer has more than {MOST_CELLS} rows; ask for less with from, to, "
                "customer, instance, meter, or by"
            )
        return Usage(cells, moment.at_ms, moment.live)

    async def for_instances(self, instance_ids: Sequence[str]) -> dict[str, list[UsageFigure]]:
        """What queryInstance shows: lifetime usage, or what a package gave to each instance.

        Package figures come from the ledger alone, because deduction happens there.
        """
        known = await to_thread.run_sync(self._instances, instance_ids)
        metered = [i for i in known.values() if not i.is_package]
        packages = [i for i in known.values() if i.is_package]
        figures = await self._lifetimes(metered) if metered else {}
        if packages:
            figures.update(await to_thread.run_sync(self._package_figures, packages))
        return figures

    async def _lifetimes(self, metered: Sequence[Instance]) -> dict[str, list[UsageFigure]]:
        ids = {instance.id for instance in metered}
        owners = {partition_of(i.customer_id, self.partitions) for i in metered}
        moment = await self._moment(sorted(owners), lambda s: store.lifetimes(s, list(ids)))
        totals = moment.ledger
        for content in moment.pending:
            for key, quantity in content.deltas.items():
                if key.instance_id in ids:
                    place = (key.instance_id, key.meter)
                    totals[place] = totals.get(place, 0) + quantity
        return {i.id: [self._lifetime(i, totals, moment.at_ms)] for i in metered}

    def _lifetime(
        self, instance: Instance, totals: Mapping[tuple[str, str], int], at_ms: int
    ) -> UsageFigure:
        """A lifetime never goes down, also when what Redis holds cannot be read for a while."""
        product = self.catalogue.get(instance.product_id)
        place = (instance.id, (product and product.meter) or "")
        now = (totals.get(place, 0), at_ms)
        quantity, shown_ms = max(now, self._shown.get(place, now))
        if len(self._shown) >= _REMEMBERED:
            self._shown.clear()
        self._shown[place] = (quantity, shown_ms)
        return UsageFigure(None, value_of(quantity, product.unit if product else 1), shown_ms)

    def _partitions_of(self, wanted: UsageFilter) -> Sequence[int]:
        if wanted.customer_id is None:
            return range(self.partitions)
        return [partition_of(wanted.customer_id, self.partitions)]

    async def _moment(self, partitions: Sequence[int], ask: Callable[[Session], T]) -> _Moment[T]:
        deadline = anyio.current_time() + self.redis_budget_s
        for _ in range(_TRIES):
            now_ms = self.clock.now_ms()
            pairs = await self._read(partitions, deadline)
            if pairs is None:
                break
            said, pending = await to_thread.run_sync(self._beside, pairs, ask)
            if pending is not None:
                return _Moment(said, pending, now_ms, live=True)
        said, _ = await to_thread.run_sync(self._beside, {}, ask)
        return _Moment(said, [], self.clock.now_ms(), live=False)

    async def _read(self, partitions: Sequence[int], deadline: float) -> dict[int, Pair] | None:
        with anyio.CancelScope(deadline=deadline):
            try:
                return {number: await self.counters.read(number) for number in partitions}
            except (MeteringError, ValueError):  # away, or something else wrote there
                return None
        return None

    def _beside(
        self, pairs: Mapping[int, Pair], ask: Callable[[Session], T]
    ) -> tuple[T, list[Content] | None]:
        """The ledger's answer, and what must be added to it; None where Redis does not fit it."""
        with reading(self.engine) as session:
            places = ledger.places(session)
            said = ask(session)
        pending: list[Content] = []
        for number, pair in pairs.items():
            contents = pending_in_redis(pair, epoch=places[number].epoch, last=places[number].last)
            if contents is None:
                return said, None
            pending.extend(contents)
        return said, pending

    def _instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        with reading(self.engine) as session:
            return store.instances(session, ids)

    def _package_figures(self, packages: Sequence[Instance]) -> dict[str, list[UsageFigure]]:
        now_ms = self.clock.now_ms()
        with reading(self.engine) as session:
            uses = uses_of(session, [package.id for package in packages])
            return {
                package.id: [
                    UsageFigure(related.id, value_of(used.get(related.id, 0), unit), now_ms)
                    for related, unit in self._related(session, package, used)
                ]
                for package in packages
                for used in [uses.get(package.id, {})]
            }

    def _related(
        self, session: Session, package: Instance, used: Mapping[str, int]
    ) -> list[tuple[Instance, int]]:
        """The buyer's pay-per-use instances that the package covers or did cover, with their unit.

        An item the buyer gave up before the package gave it anything is not worth a line.
        """
        product = self.catalogue.get(package.product_id)
        items = [item.of for item in product.package.items] if product and product.package else []
        found = {i.id: i for i in store.instances_of(session, package.customer_id, items)}
        found |= store.instances(session, [i for i in used if i not in found])
        return [
            (instance, self.catalogue[instance.product_id].unit)
            for instance in found.values()
            if instance.product_id in self.catalogue
            and (not instance.released or instance.id in used)
        ]
