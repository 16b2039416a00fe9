"""Answers the calls about authorization codes (spec §4.2), and learns of codes that are activated here.

Each call is one transaction, known by its identity: repeated, late or crossed it ends alike.
"""

from dataclasses import dataclass
from functools import partial

from sqlmodel import Session

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback
from billing_sync.koogallery.licence_codes import CodeStanding
from billing_sync.koogallery.licence_fields import to_code_event
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_models import LicenceCode
from billing_sync.licence_sealing import shown
from billing_sync.lifecycle import LifecycleEvent
from billing_sync.store import licence_codes as store
from billing_sync.store.worker import SqlWorker
from metering.clock import Clock


@dataclass
class CodeDesk:
    """`accepts_unknown`: codes that were activated elsewhere are learnt from the calls about them."""

    sql: SqlWorker
    keeper: Keeper
    clock: Clock
    accepts_unknown: bool = False

    async def answer(self, callback: Callback, sent_at: int) -> Answer:
        """The reply. Raises BadEvent, SQLAlchemyError."""
        code = callback.values["license"]
        event = to_code_event(callback, self.keeper.code_id(code), sent_at)
        answer = await self.sql.write(partial(self._apply, event=event, code=code))
        return answer or Answer(ResultCode.UNKNOWN_INSTANCE, "there is no such authorization code")

    async def learn(self, code: str, said: CodeStanding, *, activated: bool) -> LicenceCode:
        """Remember a code that the marketplace knows, and what it said of it."""
        row, now_ms = self._row(code), self.clock.now_ms()
        row.product_id, row.order_id, row.expires = said.product_id, said.order_id, said.expires
        row.activated = now_ms if activated else 0
        row.last_heartbeat = 0 if activated else now_ms
        return await self.sql.write(partial(store.add, row=row))

    def _apply(self, session: Session, event: LifecycleEvent, code: str) -> Answer | None:
        now_ms = self.clock.now_ms()
        if self.accepts_unknown:
            store.add(session, self._row(code))
        return store.apply(session, event, now_ms)

    def _row(self, code: str) -> LicenceCode:
        code_id = self.keeper.code_id(code)
        return LicenceCode(
            id=code_id,
            shown=shown(code),
            sealed=self.keeper.seal(code_id, code.encode()),
            known_since=self.clock.now_ms(),
        )
