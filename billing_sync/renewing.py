"""Renewals, those that change the product included, and the question whether one may (spec §2.8, §2.12).

Crash order of a renewal with another product, and what is left after each step:
1. order query (RENEWAL_CHANGE)   nothing; KooGallery may call again
2. commit                         expiry, product, notice to gateways; or, for a product that nobody
                                  knows yet, expiry and a row that says what is awaited
3. reply                          a lost reply is repeated from the inbox
4. product learnt: one commit     product and notice, and the row is gone
A renewal is paid for and may be told only once: it is never refused because an order is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlmodel import Session

from billing_sync.fitting import Held, refusal
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Wanted
from billing_sync.lifecycle import RENEWAL_CHANGE, Activity, LifecycleEvent
from billing_sync.market_models import AwaitedChange
from billing_sync.order_book import OrderBook, chosen_product
from billing_sync.patience import Patience
from billing_sync.store import awaited, instances, lifecycle, package_totals, product_changes
from billing_sync.store.lifecycle import Successor
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock
from metering.entitlement import InstanceStatus

_AT_ONCE: Final = 8
_WATCHED: Final = 1000


@dataclass
class Renewer:
    """Commits events to instances that exist, and goes on asking for what they were renewed with."""

    sql: SqlWorker
    book: OrderBook
    clock: Clock
    on_change: Callable[[], None]
    _patience: Patience[tuple[str, str, str]] = field(default_factory=Patience, repr=False)

    async def apply(self, event: LifecycleEvent) -> Answer | None:
        """The answer to a refresh, a status change, an expiry or a release; None for an unknown
        instance. Raises SQLAlchemyError."""
        successor = None
        if _changes_product(event):
            found = await self.sql.read(partial(product_changes.upgradable, event=event))
            if found.answer is not None or found.instance is None:
                return found.answer
            successor = await self._successor(event)
        answer = await self.sql.write(
            partial(lifecycle.apply, event=event, at=self.clock.now_ms(), successor=successor)
        )
        if answer is not None:
            self.on_change()
        return answer

    async def check(self, instance_id: str, wanted: Wanted) -> Answer | None:
        """The answer to changeInstanceCheck; None for an instance that is unknown or released."""
        product_id = await self.book.metered_as(wanted.product_id, f"instance {instance_id}")
        found = await self.sql.read(partial(_held, instance_id=instance_id))
        if found is None or isinstance(found, Answer):
            return found
        catalogue = self.book.catalogue
        reason = refusal(found, catalogue.get(product_id), wanted.linear_value, catalogue)
        return Answer(ResultCode.NO_RESOURCE, reason) if reason else Answer(ResultCode.SUCCESS)

    async def resolve(self) -> int:
        """One background round over the renewals whose product is awaited; how many were settled.

        Raises SQLAlchemyError.
        """
        rows = await self.sql.read(partial(awaited.changes, limit=_WATCHED))
        waiting = {(row.instance_id, row.order_id, row.order_line_id): row for row in rows}
        settled = 0
        for row in self._patience.due(waiting, self.clock.now_ms(), _AT_ONCE):
            settled += await self._settle(row)
        if settled:
            self.on_change()
        return settled

    async def _settle(self, row: AwaitedChange) -> bool:
        order = None
        if row.order_line_id:  # V1.0 has no lines, and tells the product itself
            order = await self.book.find(row.order_id, row.order_line_id, buyer_known=True)
            if order is None:
                return False
        named = row.product_id or (chosen_product(order, self.book.catalogue) if order else "")
        product_id = await self.book.metered_as(named, f"order {row.order_id}")
        if not product_id:
            await self.sql.write(partial(awaited.name, row=row, product_id=named))
            return False
        return await self.sql.write(
            partial(
                awaited.finish,
                row=row,
                product_id=product_id,
                order=order,
                catalogue=self.book.catalogue,
                at=self.clock.now_ms(),
            )
        )

    async def _successor(self, event: LifecycleEvent) -> Successor:
        order, is_incomplete = None, False
        if event.scene == RENEWAL_CHANGE:
            order = await self.book.find(event.order_id, event.order_line_id, buyer_known=True)
            is_incomplete = order is None
        named = event.product_id or (chosen_product(order, self.book.catalogue) if order else "")
        product_id = await self.book.metered_as(named, f"order {event.order_id}") if named else ""
        return Successor(product_id, named, order, is_incomplete, self.book.catalogue)


def _changes_product(event: LifecycleEvent) -> bool:
    is_change = event.scene == RENEWAL_CHANGE or bool(event.product_id)
    return event.activity is Activity.REFRESH and is_change


def _held(session: Session, instance_id: str) -> Held | Answer | None:
    instance = instances.by_ids(session, [instance_id]).get(instance_id)
    if instance is None or instance.status == InstanceStatus.RELEASED:
        return None
    if not instance.customer_id:
        return Answer(ResultCode.INTERNAL, "the instance is not ready yet, try again")
    used = package_totals.by_item(session, [instance_id]) if instance.is_package else {}
    return Held(
        instance.is_package, instance.linear_value, {item: q for (_, item), q in used.items()}
    )
