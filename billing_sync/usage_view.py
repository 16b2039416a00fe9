"""Usage as it stands now: the ledger plus what Redis still holds, each counted once.

The reading rule: Redis first, then one SQL snapshot. A set-aside whose id SQL already has is left
out; one that follows SQL's last id is added; anything else moved in between and is read again, and
after three tries the ledger answers alone with its own time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.figures import UsageFigure
from billing_sync.models import Instance
from billing_sync.records import value_of
from billing_sync.store import usage as store
from billing_sync.store.engine import reading
from billing_sync.store.packages import uses_of
from billing_sync.store.usage import UsageFilter
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.counters import Content, Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringError
from metering.partitions import partition_of

_TRIES = 3
_REDIS_BUDGET_S = 1.0

Pair = tuple[Content | None, Content | None]


@dataclass(frozen=True, slots=True)
class Usage:
    """Quantities per delta key. `live` is False when Redis could not be added."""

    deltas: Mapping[DeltaKey, int]
    at_ms: int
    live: bool


def pending_in_redis(pair: Pair, *, epoch: str, last: str) -> list[Content] | None:
    """Which of the two hashes the ledger does not hold yet; None when they do not fit it. Pure."""
    live, drain = pair
    if live is None or live.epoch != epoch:
        return None
    if drain is None:
        return [live] if live.last == last else None
    if drain.id == last:
        return [live]
    return [live, drain] if drain.last == last and live.last == drain.id else None


@dataclass
class UsageView:
    """Answers questions about usage."""

    engine: Engine
    counters: Counters
    catalogue: Catalogue
    partitions: int
    clock: Clock

    async def usage(self, wanted: UsageFilter) -> Usage:
        """The matching usage; never raises for a Redis that is away."""
        wanted_partitions = self._partitions_of(wanted)
        for _ in range(_TRIES):
            now_ms = self.clock.now_ms()
            pairs = await self._read(wanted_partitions)
            if pairs is None:
                break
            found = await to_thread.run_sync(self._with_ledger, wanted, pairs)
            if found is not None:
                return Usage(found, now_ms, live=True)
        return await to_thread.run_sync(self._ledger_alone, wanted)

    async def for_instances(self, instance_ids: Sequence[str]) -> dict[str, list[UsageFigure]]:
        """What queryInstance shows: lifetime usage, or what a package gave to each instance.

        Package figures come from the ledger alone, because deduction happens there.
        """
        known = await to_thread.run_sync(self._instances, instance_ids)
        figures: dict[str, list[UsageFigure]] = {}
        for instance in known.values():
            if not instance.is_package:
                figures[instance.id] = [await self._lifetime(instance)]
        packages = [i for i in known.values() if i.is_package]
        figures.update(await to_thread.run_sync(self._package_figures, packages))
        return figures

    async def _lifetime(self, instance: Instance) -> UsageFigure:
        product = self.catalogue.get(instance.product_id)
        usage = await self.usage(
            UsageFilter(customer_id=instance.customer_id, instance_id=instance.id)
        )
        quantity = sum(
            q for key, q in usage.deltas.items() if product and key.meter == product.meter
        )
        return UsageFigure(None, value_of(quantity, product.unit if product else 1), usage.at_ms)

    def _partitions_of(self, wanted: UsageFilter) -> Sequence[int]:
        if wanted.customer_id is None:
            return range(self.partitions)
        return [partition_of(wanted.customer_id, self.partitions)]

    async def _read(self, partitions: Sequence[int]) -> dict[int, Pair] | None:
        pairs = {}
        try:
            with anyio.fail_after(_REDIS_BUDGET_S):
                for partition in partitions:
                    pairs[partition] = await self.counters.read(partition)
        except (MeteringError, TimeoutError):
            return None
        return pairs

    def _with_ledger(
        self, wanted: UsageFilter, pairs: Mapping[int, Pair]
    ) -> dict[DeltaKey, int] | None:
        with reading(self.engine) as session:
            places = store.partition_places(session)
            total = store.deltas_in_ledger(session, wanted)
        for partition, pair in pairs.items():
            epoch, last = places[partition]
            contents = pending_in_redis(pair, epoch=epoch, last=last)
            if contents is None:
                return None
            for content in contents:
                for key, quantity in content.deltas.items():
                    if wanted.matches(key):
                        total[key] = total.get(key, 0) + quantity
        return total

    def _ledger_alone(self, wanted: UsageFilter) -> Usage:
        with reading(self.engine) as session:
            return Usage(store.deltas_in_ledger(session, wanted), self.clock.now_ms(), live=False)

    def _instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        with reading(self.engine) as session:
            return store.instances(session, ids)

    def _package_figures(self, packages: Sequence[Instance]) -> dict[str, list[UsageFigure]]:
        now_ms = self.clock.now_ms()
        figures = {}
        with reading(self.engine) as session:
            uses = uses_of(session, [package.id for package in packages])
            for package in packages:
                used = uses.get(package.id, {})
                figures[package.id] = [
                    UsageFigure(related.id, value_of(used.get(related.id, 0), unit), now_ms)
                    for related, unit in self._related(session, package)
                ]
        return figures

    def _related(self, session: Session, package: Instance) -> list[tuple[Instance, int]]:
        """The buyer's pay-per-use instances that the package covers, with their billing unit."""
        product = self.catalogue.get(package.product_id)
        items = [item.of for item in product.package.items] if product and product.package else []
        covered = store.instances_of(session, package.customer_id, items)
        return [(instance, self.catalogue[instance.product_id].unit) for instance in covered]
