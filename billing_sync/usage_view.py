"""Usage as it stands now, for the operator's questions and for the marketplace's UsageInfo."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.errors import BadQuestion
from billing_sync.figures import UsageFigure
from billing_sync.live import REDIS_BUDGET_S, Live
from billing_sync.market_models import OpeningTotal
from billing_sync.models import Instance
from billing_sync.questions import MOST_CELLS, Usage, UsageFilter
from billing_sync.records import value_of
from billing_sync.store import adjustments, taking_over
from billing_sync.store import usage as store
from billing_sync.store.engine import reading
from billing_sync.store.package_totals import uses
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Counters
from metering.entitlement import InstanceStatus
from metering.partitions import partition_of

_REMEMBERED: Final = 100_000


@dataclass
class UsageView:
    """Answers questions about usage. Never raises for a Redis that is away."""

    engine: Engine
    counters: Counters
    catalogue: Catalogue
    partitions: int
    clock: Clock
    redis_budget_s: float = REDIS_BUDGET_S

    def __post_init__(self) -> None:
        self._live = Live(self.engine, self.counters, self.clock, self.redis_budget_s)
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}

    async def usage(self, wanted: UsageFilter) -> Usage:
        """The matching usage. Raises BadQuestion when the answer would be too long."""
        moment = await self._live.moment(
            self._partitions_of(wanted), lambda s: store.cells(s, wanted, MOST_CELLS + 1)
        )
        cells = moment.ledger
        for key, quantity in moment.deltas():
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
        moment = await self._live.moment(
            sorted(owners),
            lambda s: (
                store.lifetimes(s, list(ids)),
                adjustments.totals(s, list(ids)),
                taking_over.openings(s, list(ids)),
            ),
        )
        totals, adjusted, openings = moment.ledger
        for key, quantity in moment.deltas():
            if key.instance_id in ids:
                place = (key.instance_id, key.meter)
                totals[place] = totals.get(place, 0) + quantity
        return {
            i.id: [
                self._lifetime(
                    i, totals, adjusted.get(i.id, 0) + self._before(i, openings), moment.at_ms
                )
            ]
            for i in metered
        }

    def _before(self, instance: Instance, openings: Mapping[str, OpeningTotal]) -> int:
        """What it had used before it was taken over, if that was of the meter it has now."""
        opening = openings.get(instance.id)
        if opening is None:
            return 0
        then, now = (self.catalogue.get(p) for p in (opening.product_id, instance.product_id))
        return opening.quantity if then and now and then.meter == now.meter else 0

    def _lifetime(
        self,
        instance: Instance,
        totals: Mapping[tuple[str, str], int],
        adjusted: int,
        at_ms: int,
    ) -> UsageFigure:
        """A lifetime never goes down except by an adjustment, also when what Redis holds cannot be
        read for a while; nor below zero."""
        product = self.catalogue.get(instance.product_id)
        place = (instance.id, (product and product.meter) or "")
        now = (totals.get(place, 0), at_ms)
        quantity, shown_ms = max(now, self._shown.get(place, now))
        if len(self._shown) >= _REMEMBERED:
            self._shown.clear()
        self._shown[place] = (quantity, shown_ms)
        total = max(quantity + adjusted, 0)
        return UsageFigure(None, value_of(total, product.unit if product else 1), shown_ms)

    def _partitions_of(self, wanted: UsageFilter) -> Sequence[int]:
        if wanted.customer_id is None:
            return range(self.partitions)
        return [partition_of(wanted.customer_id, self.partitions)]

    def _instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        with reading(self.engine) as session:
            return store.instances(session, ids)

    def _package_figures(self, packages: Sequence[Instance]) -> dict[str, list[UsageFigure]]:
        now_ms = self.clock.now_ms()
        with reading(self.engine) as session:
            ids = [package.id for package in packages]
            gave = Counter[tuple[str, str]]()
            for use in uses(session, ids):
                gave[use.package_id, use.instance_id] += use.quantity
            buyers = store.metered_of(session, sorted({p.customer_id for p in packages}))
            known = {instance.id: instance for instance in buyers}
            known |= store.instances(session, [i for _, i in gave if i not in known])
        return {
            package.id: [
                UsageFigure(i.id, value_of(gave[package.id, i.id], product.unit), now_ms)
                for i in self._related(
                    package, known.values(), {i for p, i in gave if p == package.id}
                )
                if (product := self.catalogue.get(i.product_id)) is not None
            ]
            for package in packages
        }

    def _related(
        self, package: Instance, known: Iterable[Instance], used: Container[str]
    ) -> list[Instance]:
        """Whom the package gave something; and of each billing item that it gave nothing as yet, the
        buyer's instance that calls are charged to: his first active one."""
        product = self.catalogue.get(package.product_id)
        items = [item.of for item in product.package.items] if product and product.package else []
        gave = [instance for instance in known if instance.id in used]
        open_items = [item for item in items if item not in {i.product_id for i in gave}]
        mine = [i for i in known if i.customer_id == package.customer_id and not i.released]
        firsts = [
            min((i for i in mine if i.product_id == item), key=_is_idle, default=None)
            for item in open_items
        ]
        return sorted([*gave, *(i for i in firsts if i)], key=lambda i: (i.started, i.id))


def _is_idle(instance: Instance) -> bool:
    return instance.status != InstanceStatus.ACTIVE
