"""What the marketplace is shown of instances: the buyer's access data and cumulative usage."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from cryptography.exceptions import InvalidTag
from sqlmodel import Session

from billing_sync.figures import UsageFigure, UsageFigures
from billing_sync.koogallery import query
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.query import Addresses, Shown
from billing_sync.link_tokens import Link, UsageLinks
from billing_sync.models import Instance
from billing_sync.store import customers, links
from billing_sync.store import instances as store
from billing_sync.store.worker import SqlWorker
from metering import keys

_log = logging.getLogger(__name__)


@dataclass
class InstanceView:
    """Reads instances. `resolve` asks for the orders of those that wait; `budget_s` bounds the time
    that figures may take. `pages` makes the links to usage pages, if the marketplace is told any: the
    same one for an instance whenever it asks."""

    sql: SqlWorker
    figures: UsageFigures
    secret: bytes = field(repr=False)
    front_end_url: str
    resolve: Callable[[Sequence[Instance]], Awaitable[int]]
    budget_s: float
    pages: UsageLinks | None = None

    async def answer(self, ids: Sequence[str], now_ms: int) -> Answer:
        """The reply to queryInstance. Raises TimeoutError when the figures take too long."""
        instances = await self._instances(ids)
        waiting = [i for i in instances.values() if not store.is_settled(i)]
        if waiting and await self.resolve(waiting):
            instances = await self._instances(ids)
        shown = await self._shown(instances, now_ms)
        figures = await self._figures([i for i in ids if i in shown and shown[i].settled])
        return query.answer(ids, shown, figures, now_ms)

    async def access(self, instance_id: str, now_ms: int) -> Mapping[str, str] | None:
        """The access data of one instance; None where its buyer is not known."""
        shown = await self._shown(await self._instances([instance_id]), now_ms)
        return shown[instance_id].app_info if instance_id in shown else None

    async def _instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        return await self.sql.read(lambda session: store.by_ids(session, ids))

    async def _figures(self, ids: Sequence[str]) -> Mapping[str, Sequence[UsageFigure]]:
        if not ids:
            return {}
        with anyio.fail_after(self.budget_s):
            return await self.figures.for_instances(ids)

    async def _shown(self, instances: Mapping[str, Instance], now_ms: int) -> dict[str, Shown]:
        rows = list(instances.values())
        return await self.sql.read(lambda session: self._read(session, rows, now_ms))

    def _read(
        self, session: Session, instances: Sequence[Instance], now_ms: int
    ) -> dict[str, Shown]:
        buyers = {i.customer_id for i in instances if i.customer_id}
        sealed = customers.sealed_keys(session, buyers, now_ms)
        opened = {buyer: self._key(buyer, sealed.get(buyer)) for buyer in buyers}
        revisions = links.revisions(session, buyers) if self.pages is not None else {}
        shown = {}
        for each in instances:
            buyer = each.customer_id
            page = self._page(each, revisions.get(buyer, 0))
            addresses = Addresses(self.front_end_url, page)
            app = query.app_info(addresses, buyer, opened[buyer]) if buyer else None
            shown[each.id] = Shown(store.is_settled(each), app, page)
        return shown

    def _page(self, instance: Instance, revision: int) -> str:
        if self.pages is None or not instance.customer_id:
            return ""
        return self.pages.url(Link(instance.customer_id, instance.id, 0, revision))

    def _key(self, customer_id: str, sealed: str | None) -> str | None:
        try:
            return keys.unseal(self.secret, sealed) if sealed else None
        except (InvalidTag, ValueError):
            _log.error("key of customer %s was sealed with another secret_key", customer_id)
            return None
