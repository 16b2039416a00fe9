"""Makes, revokes and opens links to customers' pages.

A link is not stored: it is good while its signature, its end and the customer's revision are. After
the ledger was restored from a backup, revoke again what was revoked since.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from sqlmodel import Session

from billing_sync.access import Access
from billing_sync.errors import BadQuestion
from billing_sync.key_terms import NEVER, expiry_of
from billing_sync.link_tokens import Link, UsageLinks
from billing_sync.people_settings import LinkSettings, duration_ms
from billing_sync.store import links as store
from billing_sync.store.links import Opened
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

log = logging.getLogger("tallygate.links")


class MadeLink(NamedTuple):
    """A link for a person; `expires` UTC ms, 0 as long as the instance."""

    url: str
    customer_id: str
    instance_id: str
    expires: int


@dataclass
class Linker:
    """`keep_ms` is how long data outlive the release of an instance."""

    sql: SqlWorker
    pages: UsageLinks
    settings: LinkSettings
    catalogue: Catalogue
    clock: Clock
    keep_ms: int

    async def create(self, customer_id: str, instance_id: str, expires: str | None) -> MadeLink:
        """A new link; `expires` is such as `7d`, a time, or for one instance `never`.

        Raises BadQuestion or UnknownCustomer.
        """
        end = self._end(expires, instance_id)
        link = Link(customer_id, instance_id, end)
        made = await self.sql.read(partial(self._checked, link=link))
        log.info("a link to the page of customer %s was made", customer_id)
        return MadeLink(self.pages.url(made), customer_id, instance_id, end * 1000)

    async def revoke(self, customer_id: str) -> int:
        """No link of the customer opens anything any more; his new revision.

        Raises UnknownCustomer.
        """
        now_ms = self.clock.now_ms()
        job = partial(store.revoke, customer_id=customer_id, at=now_ms)
        revision = await self.sql.write(job)
        log.info("the links of customer %s were revoked", customer_id)
        return revision

    async def open(self, token: str) -> Access:
        """Whose page it is. Raises BadLink."""
        link = self.pages.read(token)
        opened = await self.sql.read(partial(self._opened, link=link))
        return Access(opened.customer.id, opened.instances, may_rotate=self._may_rotate(opened))

    def _may_rotate(self, opened: Opened) -> bool:
        """Keys open all of a customer's instances, so a link to one of them is not enough."""
        return self.settings.rotate_keys and opened.instances is None

    def _opened(self, session: Session, link: Link) -> Opened:
        return store.opened(session, link, self.catalogue, self.clock.now_ms(), self.keep_ms)

    def _checked(self, session: Session, link: Link) -> Link:
        customer = store.require(session, link.customer_id)
        if link.instance_id and not store.instance_of(session, customer.id, link.instance_id):
            raise BadQuestion(
                f"customer {customer.id} has no instance {link.instance_id[:64]!r}; "
                "`tallygate instances list` shows them"
            )
        revision = store.revisions(session, [customer.id]).get(customer.id, 0)
        return link._replace(revision=revision)

    def _end(self, expires: str | None, instance_id: str) -> int:
        """UTC s."""
        if expires == NEVER and instance_id:
            return 0
        now_ms = self.clock.now_ms()
        at = expiry_of(expires or self.settings.expires, now_ms)
        if not at or at > now_ms + duration_ms(self.settings.longest):
            raise BadQuestion(
                f"a link is good for {self.settings.longest} at most (control.links.longest); only "
                "one to an instance may be without an end"
            )
        return -(-at // 1000)
