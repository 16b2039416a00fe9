"""What was ordered, asked of the marketplace, and which configured product that is metered as."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from billing_sync.errors import OrderUnavailable
from billing_sync.koogallery.order import Order
from billing_sync.store import mappings
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue

_log = logging.getLogger(__name__)


class Orders(Protocol):
    """The marketplace's order query; raises OrderUnavailable."""

    async def find(self, order_id: str, order_line_id: str) -> Order | None: ...


def chosen_product(order: Order, catalogue: Catalogue) -> str:
    """The product an instance is for: the first that is configured, else the first."""
    known = [product_id for product_id in order.product_ids if product_id in catalogue]
    return (known or list(order.product_ids) or [""])[0]


@dataclass
class OrderBook:
    """Finds orders. `unknown_products` counts how often one named no product that is configured or
    mapped."""

    sql: SqlWorker
    orders: Orders
    catalogue: Catalogue
    unknown_products: int = 0

    async def find(
        self,
        order_id: str,
        order_line_id: str,
        *,
        told: Order | None = None,
        buyer_known: bool = False,
    ) -> Order | None:
        """The order line by the products it is metered as; None while it is not known well enough.

        `told` is what the call itself said, and is not asked for. Raises SQLAlchemyError.
        """
        order = told or await self._ask(order_id, order_line_id)
        enough = order is not None and (order.product_ids if buyer_known else order.complete)
        if order is None or not enough:
            _log.info("order %s: no buyer or product yet; asking again later", order_id)
            return None
        if any(each in self.catalogue for each in order.product_ids):
            return order
        mapped = await self.sql.read(
            partial(mappings.of, product_ids=order.product_ids, catalogue=self.catalogue)
        )
        return order.renamed(mapped)

    def product_of(self, order: Order) -> str:
        """The product of an order that `find` found; counts and says that it is unknown."""
        product_id = chosen_product(order, self.catalogue)
        if product_id not in self.catalogue:
            self._unknown(f"order {order.order_id}", product_id)
        return product_id

    async def metered_as(self, product_id: str, what: str) -> str:
        """The configured product for an id; empty, said and counted where there is none."""
        if product_id in self.catalogue:
            return product_id
        one = partial(mappings.of, product_ids=[product_id], catalogue=self.catalogue)
        mapped = await self.sql.read(one)
        if product_id not in mapped:
            self._unknown(what, product_id)
        return mapped.get(product_id, "")

    async def _ask(self, order_id: str, order_line_id: str) -> Order | None:
        try:
            return await self.orders.find(order_id, order_line_id)
        except OrderUnavailable as reason:
            _log.warning("order %s: %s; asking again later", order_id, reason)
            return None

    def _unknown(self, what: str, product_id: str) -> None:
        self.unknown_products += 1
        _log.warning(
            "%s: product %s is not in `products:`; configure it, or map it with `tallygate mappings "
            "set %s PRODUCT`",
            what,
            product_id,
            product_id,
        )
