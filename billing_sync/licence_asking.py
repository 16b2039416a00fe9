"""Answers getLicenseAsync and getLicense (spec §4.1, §4.3): notes the wish, and waits a moment for
the licence.

1. one transaction notes the wish, or refuses it   before that nothing is known of it
2. the job of the control plane makes it           see licence_jobs, and its crash order
3. reply                                           000000 once it is made and stored, until then 000004
The same event and fingerprint is the same licence: a repeat finds the row, whatever became of it.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
from sqlmodel import Session

from billing_sync.errors import BadEvent
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.licence_fields import LicenceAsked
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_models import Licence
from billing_sync.licence_rules import refusal
from billing_sync.licence_standing import standing_of
from billing_sync.licences import LicenceState, licence_id
from billing_sync.models import Instance
from billing_sync.store import instances
from billing_sync.store import licences as store
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

_LOOK_S: Final = 0.025
_RESEND_MS: Final = 30_000  # asked again after it was delivered: the transmission may have failed
_MADE: Final = (LicenceState.UPLOADING, LicenceState.DELIVERED, LicenceState.REJECTED)


@dataclass
class LicenceDesk:
    """`resolve` asks for the orders of instances that wait, `on_wish` wakes who makes licences, and
    `answer_within_s` is how long a call waits for one."""

    sql: SqlWorker
    catalogue: Catalogue
    keeper: Keeper
    clock: Clock
    resolve: Callable[[Sequence[Instance]], Awaitable[int]]
    on_wish: Callable[[], None]
    answer_within_s: float

    async def answer(self, asked: LicenceAsked) -> Answer:
        """The reply. Raises BadEvent for an event of another instance, SQLAlchemyError."""
        wish = self._wish(asked)
        owner = await self.sql.read(partial(store.owner, instance_id=asked.instance_id))
        if owner is not None and not instances.is_settled(owner.instance):
            await self.resolve([owner.instance])
        noted = await self.sql.write(partial(self._note, wish=wish))
        if isinstance(noted, Answer):
            return noted
        self.on_wish()
        return self._said(await self._made(noted))

    def _wish(self, asked: LicenceAsked) -> "Wish":
        device = self.keeper.digest(asked.fingerprint)
        return Wish(licence_id(asked.event_id, device), device, asked)

    def _note(self, session: Session, wish: "Wish") -> Answer | Licence:
        """Step 1: the row of the wish, or why there is none."""
        asked, now_ms = wish.asked, self.clock.now_ms()
        owner = store.owner(session, asked.instance_id, lock=True)
        row = store.of(session, wish.id)
        if row is not None and row.instance_id != asked.instance_id:
            raise BadEvent("eventId belongs to another instance")
        is_gone = owner is None or store.is_released(owner.instance)
        if row is not None and row.state in _MADE:
            return row if is_gone else self._again(row, now_ms)
        if owner is None or is_gone:
            return Answer(ResultCode.UNKNOWN_INSTANCE, f"no instance {asked.instance_id}")
        if instances.is_settled(owner.instance):
            devices = store.devices(session, asked.instance_id, wish.id)
            standing = standing_of(owner, self.catalogue, devices)
            if (no := refusal(standing, asked, wish.device)) is not None:
                return Answer(no.code, no.text)
        if row is None:
            row = self._row(wish, now_ms)
            session.add(row)
        elif row.state == LicenceState.REFUSED:
            store.again(row, now_ms)
        session.flush()
        return row

    def _row(self, wish: "Wish", now_ms: int) -> Licence:
        asked = wish.asked
        return Licence(
            id=wish.id,
            event_id=asked.event_id,
            device=wish.device,
            instance_id=asked.instance_id,
            by_reply=asked.by_reply,
            effective=asked.effective,
            expires=asked.expires,
            asked=self.keeper.seal(wish.id, asked.fingerprint.encode()),
            received_at=now_ms,
            state=LicenceState.MAKING,
            next_attempt=now_ms,
        )

    def _again(self, row: Licence, now_ms: int) -> Licence:
        """A repeat is served with what was made; the marketplace may have lost it."""
        if row.state != LicenceState.UPLOADING and now_ms - row.delivered_at >= _RESEND_MS:
            store.again(row, now_ms)
        return row

    async def _made(self, row: Licence) -> Licence:
        """Step 2 as far as it goes in time: looks until the licence is made or refused."""
        for _ in range(math.ceil(self.answer_within_s / _LOOK_S)):
            if row.state != LicenceState.MAKING:
                break
            await anyio.sleep(_LOOK_S)
            seen: Licence | None = await self.sql.read(partial(store.of, licence_id=row.id))
            row = row if seen is None else seen
        return row

    def _said(self, row: Licence) -> Answer:
        """Step 3."""
        if row.state == LicenceState.MAKING:
            return Answer(ResultCode.IN_PROCESS, "the licence is being made")
        if row.state == LicenceState.REFUSED:
            return Answer(ResultCode(row.code), row.error)
        if not row.by_reply:
            return Answer(ResultCode.SUCCESS)
        return Answer(ResultCode.SUCCESS, licence=self.keeper.as_text(row))


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish under the id of its licence; `device` is the digest of its fingerprint."""

    id: str
    device: str
    asked: LicenceAsked = field(repr=False)
