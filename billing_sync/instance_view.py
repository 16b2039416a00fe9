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
from billing_sync.koogallery.query import Shown
from billing_sync.models import Instance
from billing_sync.store import customers
from billing_sync.store import instances as store
from billing_sync.store.worker import SqlWorker
from metering import keys

_log = logging.getLogger(__name__)


@dataclass
class InstanceView:
    """Reads instances. `resolve` asks for the orders of those that wait; `budget_s` bounds the time
    that figures may take."""

    sql: SqlWorker
    figures: UsageFigures
    secret: bytes = field(repr=False)
    front_end_url: str
    resolve: Callable[[Sequence[Instance]], Awaitable[int]]
    budget_s: float

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
        apps = {buyer: self._app_info(buyer, sealed.get(buyer)) for buyer in buyers}
        return {i.id: Shown(store.is_settled(i), apps.get(i.customer_id)) for i in instances}

    def _app_info(self, customer_id: str, sealed: str | None) -> dict[str, str]:
        key = None
        try:
            key = keys.unseal(self.secret, sealed) if sealed else None
        except (InvalidTag, ValueError):
            _log.error("key of customer %s was sealed with another secret_key", customer_id)
        return query.app_info(self.front_end_url, customer_id, key)
