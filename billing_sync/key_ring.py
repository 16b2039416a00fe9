"""Manages API keys: makes, lists, rotates, revokes. The only place that hands out a key, once.

A change is one transaction together with the notice to the gateways; a key whose answer was lost is
good, unknown to anybody, and may be revoked.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlmodel import Session

from billing_sync.asking import KeyPage
from billing_sync.errors import KeyRefused, UnknownKey
from billing_sync.key_making import KeyMaker
from billing_sync.key_models import ApiKey
from billing_sync.key_terms import KeyAsked, RotationAsked, status_of
from billing_sync.store import keys
from billing_sync.store.customers import ConfiguredKey, StaticCustomer
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock

log = logging.getLogger("tallygate.keys")

_CONFIGURED = "c"  # how the ids of configured keys begin (metering.keys.static_key_id)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, for the only time, and its row."""

    key: str = field(repr=False)
    row: Row


@dataclass
class KeyRing:
    """`static` are the customers of the configuration; `on_change` is called after each commit."""

    sql: SqlWorker
    maker: KeyMaker = field(repr=False)
    clock: Clock
    static: Sequence[StaticCustomer] = ()
    on_change: Callable[[], None] = lambda: None

    async def create(self, asked: KeyAsked) -> NewKey:
        """A further key of a customer. Raises UnknownCustomer or KeyRefused."""
        key, made = self.maker.make()
        now_ms = self.clock.now_ms()
        row = await self.sql.write(partial(keys.create, asked=asked, made=made, at=now_ms))
        return NewKey(key, self._changed(row, "made"))

    async def rotate(self, key_id: str, asked: RotationAsked) -> NewKey:
        """A key in place of another one. Raises UnknownKey or KeyRefused."""
        key, made = self.maker.make()
        job = partial(
            keys.rotate, key_id=_number(key_id), asked=asked, made=made, at=self.clock.now_ms()
        )
        row = await self.sql.write(job)
        return NewKey(key, self._changed(row, f"made in place of key {key_id}"))

    async def revoke(self, key_id: str) -> Row:
        """The key lets nobody in any more; again changes nothing. Raises UnknownKey or KeyRefused."""
        number, now_ms = _number(key_id), self.clock.now_ms()

        def revoke(session: Session) -> tuple[ApiKey, int]:
            key = keys.revoke(session, number, now_ms)
            return key, keys.last_uses(session, [key_id]).get(key_id, 0)

        key, last_used = await self.sql.write(revoke)
        if key.revoked == now_ms:
            self._changed(key, "revoked")
        return self._row(key, last_used)

    async def page(self, page: KeyPage) -> list[Row]:
        """Keys in the order they were made."""

        def read(session: Session) -> list[Row]:
            rows = keys.listed(session, page)
            uses = keys.last_uses(session, [str(row.id) for row in rows])
            return [self._row(row, uses.get(str(row.id), 0)) for row in rows]

        return await self.sql.read(read)

    async def configured(self, customer_id: str | None) -> list[Row]:
        """The keys that the configuration declares."""
        found = [
            (customer.customer_id, key)
            for customer in self.static
            for key in customer.keys
            if customer_id in (None, customer.customer_id)
        ]
        uses = await self.sql.read(
            partial(keys.last_uses, key_ids=[key.key_id for _, key in found])
        )
        return list(self._configured(found, uses))

    def _configured(
        self, found: Sequence[tuple[str, ConfiguredKey]], uses: dict[str, int]
    ) -> Iterable[Row]:
        now_ms = self.clock.now_ms()
        for customer_id, key in found:
            yield {
                "id": key.key_id,
                "customer_id": customer_id,
                "name": key.name,
                "routes": list(key.routes),
                "expires": key.expires,
                "last_used": uses.get(key.key_id, 0),
                "status": status_of(now_ms, expires=key.expires),
            }

    def _changed(self, key: ApiKey, what: str) -> Row:
        log.info("key %s of customer %s was %s", key.id, key.customer_id, what)
        self.on_change()
        return self._row(key, 0)

    def _row(self, key: ApiKey, last_used: int) -> Row:
        return {
            "id": str(key.id),
            "customer_id": key.customer_id,
            "name": key.name,
            "shown": key.shown,
            "routes": json.loads(key.routes),
            "created": key.created,
            "expires": key.expires,
            "revoked": key.revoked,
            "replaced_by": None if key.replaced_by is None else str(key.replaced_by),
            "delivered": bool(key.sealed),
            "last_used": last_used,
            "status": status_of(
                self.clock.now_ms(),
                expires=key.expires,
                revoked=key.revoked,
                replaced_by=key.replaced_by,
            ),
        }


def _number(key_id: str) -> int:
    if key_id.isascii() and key_id.isdigit() and len(key_id) < 10:
        return int(key_id)
    if key_id.startswith(_CONFIGURED):
        raise KeyRefused("that key stands in the configuration; change it there")
    raise UnknownKey("no key has this id; `keys list` shows them")
