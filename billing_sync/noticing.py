"""orderNotify: orders that no callback provisions, for a person to deliver (spec §6).

The notice is committed before it is answered; what was ordered is asked for afterwards, until the
marketplace says it.
"""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback
from billing_sync.market_models import OrderNotice
from billing_sync.order_book import OrderBook, chosen_product
from billing_sync.patience import Patience
from billing_sync.store import awaited
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 8
_WATCHED: Final = 1000


@dataclass
class Notices:
    """Takes notices, and learns what they are about."""

    sql: SqlWorker
    book: OrderBook
    clock: Clock
    _patience: Patience[tuple[str, str]] = field(default_factory=Patience, repr=False)

    async def take(self, callback: Callback) -> Answer:
        """The answer to orderNotify, in SQL when this returns. Raises SQLAlchemyError."""
        order_id, line_id = callback.values["orderId"], callback.values["orderLineId"]
        now = self.clock.now_ms()
        is_new = await self.sql.write(
            partial(awaited.note, order_id=order_id, order_line_id=line_id, at=now)
        )
        if is_new:
            _log.warning("order %s, line %s: somebody has to deliver it", order_id, line_id)
        return Answer(ResultCode.SUCCESS)

    async def resolve(self) -> int:
        """One background round; how many orders were learnt. Raises SQLAlchemyError."""
        rows = await self.sql.read(partial(awaited.notices, limit=_WATCHED))
        waiting = {(row.order_id, row.order_line_id): row for row in rows}
        learnt = 0
        for row in self._patience.due(waiting, self.clock.now_ms(), _AT_ONCE):
            learnt += await self._learn(row)
        return learnt

    async def _learn(self, row: OrderNotice) -> bool:
        order = await self.book.find(row.order_id, row.order_line_id, buyer_known=True)
        if order is None:
            return False
        await self.sql.write(
            partial(
                awaited.learnt,
                order=order,
                product_id=chosen_product(order, self.book.catalogue),
                at=self.clock.now_ms(),
            )
        )
        return True
