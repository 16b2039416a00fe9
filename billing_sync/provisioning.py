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

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import anyio
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.errors import OrderUnavailable
from billing_sync.key_making import KeyMaker, MadeKey
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import LifecycleEvent, instance_id_of
from billing_sync.models import Instance
from billing_sync.settings import KooGallerySettings
from billing_sync.store import lifecycle
from billing_sync.store.lifecycle import Purchase
from billing_sync.store.worker import SqlWorker
from metering.catalogue import AGENTS_GATEWAY, Catalogue, Product
from metering.clock import Clock

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 8  # order queries in flight for one callback or one background run
_WATCHED: Final = 1000  # waiting instances the background looks at
_FIRST_WAIT_MS: Final = 5_000
_LAST_WAIT_MS: Final = 600_000


class Orders(Protocol):
    """The marketplace's order query; raises OrderUnavailable."""

    async def find(self, order_id: str, order_line_id: str) -> Order | None: ...


def chosen_product(order: Order, catalogue: Catalogue) -> str:
    """The product an instance is for: the first that is configured, else the first."""
    known = [product_id for product_id in order.product_ids if product_id in catalogue]
    return (known or list(order.product_ids) or [""])[0]


def may_replace(catalogue: Catalogue, old: str, new: str) -> bool:
    """Whether a renewal may change the product id: only if both are metered and billed alike."""
    return _billing(catalogue.get(old)) == _billing(catalogue.get(new))


def _billing(product: Product | None) -> tuple[object, ...] | None:
    if product is None:
        return None
    return (
        product.meter,
        product.unit,
        product.cycle,
        product.charged_by == AGENTS_GATEWAY,
        product.package,
    )


def retry_wait_ms(attempts: int) -> int:
    """How long to leave a waiting order alone: 5 s, 10 s, 20 s … at most ten minutes."""
    return min(_FIRST_WAIT_MS << min(attempts, 16), _LAST_WAIT_MS)


@dataclass
class Provisioner:
    """Creates and settles instances. `randomness(n)` gives n random bytes."""

    sql: SqlWorker
    settings: KooGallerySettings
    catalogue: Catalogue
    orders: Orders
    secret: bytes = field(repr=False)
    clock: Clock
    randomness: Callable[[int], bytes]
    on_change: Callable[[], None]
    unknown_products: int = 0
    _attempts: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    async def create(self, event: LifecycleEvent, order: Order | None = None) -> Answer:
        """The answer to newInstance; it is in SQL when this returns.

        `order` is what the call itself tells (V1.0); else the order is asked for. The id an order
        line got first stays its id: with ids per product a line whose product is not known yet gets,
        and keeps, the id of the line alone.
        """
        known = await self.sql.read(partial(lifecycle.of_creation, event=event))
        purchase = None
        if known is None or not known.customer_id:
            bought = order or await self._order(event.order_id, event.order_line_id)
            purchase = self._purchase(bought)
        if purchase is not None and order is None and self.settings.create_per == "product":
            own_id = instance_id_of(event.order_id, event.order_line_id, purchase.product_id)
            event = replace(event, instance_id=own_id)
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
        found = await self.sql.read(partial(lifecycle.upgradable, event=event))
        if found.answer is not None or found.instance is None:
            return found.answer
        if not lifecycle.is_settled(found.instance):
            await self.resolve([found.instance])
        order = order or await self._order(event.order_id, event.order_line_id, buyer_known=True)
        if order is None:
            return Answer(ResultCode.INTERNAL, "the order is not known yet, try again")
        product_id = self._product_of(order)
        answer = await self.sql.write(
            partial(
                lifecycle.upgrade,
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
        waiting = await self.sql.read(partial(lifecycle.unsettled, limit=_WATCHED))
        now = self.clock.now_ms()
        self._attempts = {i.id: self._attempts[i.id] for i in waiting if i.id in self._attempts}
        due = [i for i in waiting if self._attempts.get(i.id, (0, 0))[1] <= now][:_AT_ONCE]
        for instance in due:
            attempts = self._attempts.get(instance.id, (0, 0))[0]
            self._attempts[instance.id] = (attempts + 1, now + retry_wait_ms(attempts))
        return await self.resolve(due)

    async def _settle(self, instance: Instance) -> bool:
        purchase = self._purchase(await self._order(instance.order_id, instance.order_line_id))
        if purchase is None:
            return False
        now = self.clock.now_ms()
        settled = await self.sql.write(
            partial(lifecycle.settle, instance_id=instance.id, purchase=purchase, at=now)
        )
        if settled:
            self.on_change()
        return settled

    def _purchase(self, order: Order | None) -> Purchase | None:
        if order is None:
            return None
        product_id = self._product_of(order)
        product = self.catalogue.get(product_id)
        return Purchase(order, product_id, bool(product and product.is_package), self._new_key())

    async def _order(
        self, order_id: str, order_line_id: str, *, buyer_known: bool = False
    ) -> Order | None:
        try:
            order = await self.orders.find(order_id, order_line_id)
        except OrderUnavailable as reason:
            _log.warning("order %s: %s; asking again later", order_id, reason)
            return None
        enough = order is not None and (order.product_ids if buyer_known else order.complete)
        if not enough:
            _log.info("order %s: no buyer or product yet; asking again later", order_id)
            return None
        return order

    def _product_of(self, order: Order) -> str:
        product_id = chosen_product(order, self.catalogue)
        if product_id not in self.catalogue:
            self.unknown_products += 1
            _log.warning("order %s: product %s is not in `products:`", order.order_id, product_id)
        return product_id

    def _new_key(self) -> MadeKey:
        _, made = KeyMaker(self.secret, self.randomness).make()
        return made
