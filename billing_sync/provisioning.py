"""Turns orders into instances: order query first, then one transaction (spec §2.6, §7.5).

Crash order of a creation, and what is left after each step:
1. order query            nothing; KooGallery calls again
2. commit                 the instance, its inbox row, its buyer, his key, the notice to gateways
3. reply                  a lost reply is repeated with the same instance id
An order that is not known yet leaves an instance in `creating`, and every later occasion asks
again: a repeated creation, a query, and `resolve_creating` in the background.

An upgrade (spec §2.11) goes the same way, but without its order there is nothing to be done yet: it is
answered 000005, and KooGallery calls again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import anyio
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.key_making import KeyMaker, MadeKey
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import LifecycleEvent, instance_id_of
from billing_sync.models import Instance
from billing_sync.order_book import OrderBook
from billing_sync.patience import Patience
from billing_sync.settings import KooGallerySettings
from billing_sync.store import instances, lifecycle, product_changes
from billing_sync.store.lifecycle import Purchase
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock

_AT_ONCE: Final = 8  # order queries in flight for one callback or one background run
_WATCHED: Final = 1000  # waiting instances the background looks at


@dataclass
class Provisioner:
    """Creates and settles instances. `randomness(n)` gives n random bytes."""

    sql: SqlWorker
    settings: KooGallerySettings
    book: OrderBook
    secret: bytes = field(repr=False)
    clock: Clock
    randomness: Callable[[int], bytes]
    on_change: Callable[[], None]
    _patience: Patience[str] = field(default_factory=Patience, repr=False)

    async def create(self, event: LifecycleEvent, order: Order | None = None) -> Answer:
        """The answer to newInstance; it is in SQL when this returns.

        `order` is what the call itself tells (V1.0); else the order is asked for. The id an order
        line got first stays its id. With ids per product a call that names its product gets an
        instance of its own; a line whose product is not known yet gets, and keeps, the id of the
        line alone.
        """
        per_product = self.settings.create_per == "product" and order is None
        if per_product and event.product_id:
            event = _by_product(event, event.product_id, apart=True)
        known = await self.sql.read(partial(instances.of_creation, event=event))
        purchase = None
        if known is None or not known.customer_id:
            named = event.product_id if event.apart else ""
            line = (event.order_id, event.order_line_id)
            purchase = await self._purchase_of(*line, told=order, named=named)
        if purchase is not None and per_product and not event.apart:
            event = _by_product(event, purchase.product_id, apart=False)
        now = self.clock.now_ms()
        answer = await self.sql.write(
            partial(lifecycle.create, event=event, purchase=purchase, at=now)
        )
        self.on_change()
        return answer

    async def upgrade(self, event: LifecycleEvent, order: Order | None = None) -> Answer | None:
        """The answer to upgradeInstance, in SQL when this returns; None for an unknown instance.

        `order` as in `create`.
        """
        found = await self.sql.read(partial(product_changes.upgradable, event=event))
        if found.answer is not None or found.instance is None:
            return found.answer
        if not instances.is_settled(found.instance):
            await self.resolve([found.instance])
        order = await self.book.find(
            event.order_id, event.order_line_id, told=order, buyer_known=True
        )
        if order is None:
            return Answer(ResultCode.INTERNAL, "the order is not known yet, try again")
        product_id = self.book.product_of(order)
        answer = await self.sql.write(
            partial(
                product_changes.upgrade,
                event=event,
                order=order,
                product_id=product_id,
                at=self.clock.now_ms(),
            )
        )
        self.on_change()
        return answer

    async def resolve(self, instances: Sequence[Instance]) -> int:
        """Ask for the orders of waiting instances, a few at once; how many were settled.

        Raises SQLAlchemyError when the ledger is away, after all were tried.
        """
        settled: list[str] = []
        failures: list[SQLAlchemyError] = []

        async def one(instance: Instance) -> None:
            try:
                if await self._settle(instance):
                    settled.append(instance.id)
            except SQLAlchemyError as failure:  # a group of errors would say less than the first
                failures.append(failure)

        async with anyio.create_task_group() as group:
            for instance in instances[:_AT_ONCE]:
                group.start_soon(one, instance)
        if failures:
            raise failures[0]
        return len(settled)

    async def resolve_creating(self) -> int:
        """One background round over the waiting instances that are due; how many were settled.

        Raises SQLAlchemyError when the ledger is away.
        """
        waiting = await self.sql.read(partial(instances.unsettled, limit=_WATCHED))
        due = self._patience.due({each.id: each for each in waiting}, self.clock.now_ms(), _AT_ONCE)
        return await self.resolve(due)

    async def _settle(self, instance: Instance) -> bool:
        line = (instance.order_id, instance.order_line_id)
        purchase = await self._purchase_of(*line, named=instance.product_id)
        if purchase is None:
            return False
        now = self.clock.now_ms()
        settled = await self.sql.write(
            partial(lifecycle.settle, instance_id=instance.id, purchase=purchase, at=now)
        )
        if settled:
            self.on_change()
        return settled

    async def _purchase_of(
        self, order_id: str, order_line_id: str, *, told: Order | None = None, named: str = ""
    ) -> Purchase | None:
        order = await self.book.find(order_id, order_line_id, told=told)
        if order is None:
            return None
        product_id = (
            await self.book.metered_as(named, f"order {order_id}") or named
            if named
            else self.book.product_of(order)
        )
        product = self.book.catalogue.get(product_id)
        return Purchase(order, product_id, bool(product and product.is_package), self._new_key())

    def _new_key(self) -> MadeKey:
        _, made = KeyMaker(self.secret, self.randomness).make()
        return made


def _by_product(event: LifecycleEvent, product_id: str, *, apart: bool) -> LifecycleEvent:
    own_id = instance_id_of(event.order_id, event.order_line_id, product_id)
    return replace(event, instance_id=own_id, apart=apart)
