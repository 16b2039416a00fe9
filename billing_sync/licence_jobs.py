"""Makes and uploads licences. The order, and what a crash after each step leaves:

1. the wish stands in SQL (licence_asking)   the licence is due
2. claim it (leased), ask the maker          when the lease ends, the maker is asked again, under the
                                             same id; what it made in vain nobody has seen
3. made: store it, in one transaction that   it is due to be uploaded; no maker is asked for it any
   only the holder of the lease can make     more, so there are never two licences of one wish
4. claim it, upload it                       when the lease ends, the same bytes go again
5. confirmed: note that in SQL               done, until the marketplace asks again
Only what step 3 has stored is ever uploaded or said, so a licence that came too late from a maker
that had been given up is thrown away.
"""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
from sqlmodel import Session

from billing_sync.errors import Undecipherable
from billing_sync.koogallery.licence_fields import LicenceAsked
from billing_sync.koogallery.licence_upload import BUDGET_S, UploadClient
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.throttle import Throttle
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_makers import Maker
from billing_sync.licence_models import Licence
from billing_sync.licence_rules import refusal
from billing_sync.licence_standing import request_of, standing_of
from billing_sync.licences import (
    LicenceRefused,
    LicenceRequest,
    LicenceState,
    Made,
    MakerFailed,
    NotYet,
    Reason,
)
from billing_sync.patience import retry_wait_ms
from billing_sync.repeating import Wake
from billing_sync.store import instances
from billing_sync.store import licences as store
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

log = logging.getLogger("tallygate.licences")

_SPARE_MS: Final = 30_000  # of a lease, for everything but what it is for
_UPLOAD_LEASE_MS: Final = int(BUDGET_S * 1000) + _SPARE_MS
_MAX_ERROR: Final = 200

Columns = dict[str, Any]


@dataclass
class LicenceJobs:
    """Any number may run, also in several processes. `results` counts attempts by step and result."""

    sql: SqlWorker
    catalogue: Catalogue
    keeper: Keeper
    maker: Maker
    client: UploadClient
    clock: Clock
    timeout_s: float
    made: Wake = field(default_factory=Wake)
    results: dict[tuple[str, str], int] = field(default_factory=dict)
    _throttle: Throttle = field(default_factory=Throttle)

    async def make_due(self) -> int:
        """Steps 2 and 3 for whatever is due, one after the other; how many were made."""
        count = 0
        lease_ms = int(self.timeout_s * 1000) + _SPARE_MS
        while (row := await self._claim(LicenceState.MAKING, lease_ms)) is not None:
            columns = await self._ask(row)
            with anyio.CancelScope(shield=True):  # what is made is kept, also at a stop
                await self.sql.write(partial(store.settle, claimed=row, **columns))
            result = columns["state"] if columns["state"] != LicenceState.MAKING else "waiting"
            self._count("make", str(result))
            if columns["state"] in (LicenceState.UPLOADING, LicenceState.DELIVERED):
                count += 1
                self.made.set()
        return count

    async def upload_due(self) -> int:
        """Steps 4 and 5 for whatever is due; how many were delivered."""
        count = 0
        while not self._throttle.wait_ms(self.clock.now_ms()):
            row = await self._claim(LicenceState.UPLOADING, _UPLOAD_LEASE_MS)
            if row is None:
                break
            outcome = await self._upload(row)
            with anyio.CancelScope(shield=True):
                columns = self._uploaded(row, outcome)
                await self.sql.write(partial(store.settle, claimed=row, **columns))
            self._count("upload", outcome.kind.value)
            count += outcome.kind is Kind.ACCEPTED
        return count

    async def _claim(self, state: LicenceState, lease_ms: int) -> Licence | None:
        """As good as always there is nothing to do, and that is only looked at."""
        now_ms = self.clock.now_ms()
        if not await self.sql.read(partial(store.is_due, state=state, now_ms=now_ms)):
            return None
        until_ms = now_ms + lease_ms
        return await self.sql.write(
            partial(store.claim, state=state, now_ms=now_ms, until_ms=until_ms)
        )

    async def _ask(self, row: Licence) -> Columns:
        """Step 2: what becomes of the row."""
        try:
            request = await self.sql.read(partial(self._request, row=row))
            made = await self.maker.make(request)
        except (LicenceRefused, Undecipherable) as no:
            reason = no.reason if isinstance(no, LicenceRefused) else Reason.INTERNAL
            log.warning("licence %s is refused: %s %s", row.id, reason.value, no)
            return {"state": LicenceState.REFUSED, "code": reason.value, "error": str(no)}
        except NotYet as later:
            return self._later(row, str(later), int(later.after_s * 1000))
        except MakerFailed as failure:
            log.warning("licence %s: the maker %s; it is asked again", row.id, failure)
            return self._later(row, str(failure), 0)
        return self._kept(row, request, made)

    def _request(self, session: Session, row: Licence) -> LicenceRequest:
        """Read when it is made: what was not known when it was asked for is known now."""
        owner = store.owner(session, row.instance_id)
        if owner is None or store.is_released(owner.instance):
            raise LicenceRefused(Reason.OUTSIDE_VALIDITY, "the instance was released")
        if not instances.is_settled(owner.instance):
            raise NotYet("the order is not known yet")
        fingerprint = self.keeper.fingerprint(row)
        devices = store.devices(session, row.instance_id, row.id)
        standing = standing_of(owner, self.catalogue, devices)
        asked = LicenceAsked(
            row.event_id, row.instance_id, row.effective, row.expires, fingerprint, row.by_reply
        )
        if (no := refusal(standing, asked, row.device)) is not None:
            raise LicenceRefused(Reason(no.code.value), no.text)
        name = store.customer_name(session, owner.instance.customer_id)
        return request_of(row, owner, fingerprint, name)

    def _kept(self, row: Licence, request: LicenceRequest, made: Made) -> Columns:
        """Step 3, as columns."""
        now_ms = self.clock.now_ms()
        log.info("licence %s of instance %s was made", row.id, row.instance_id)
        return {
            "state": LicenceState.DELIVERED if row.by_reply else LicenceState.UPLOADING,
            "product_id": request.product_id,
            "kind": made.kind,
            "file_name": made.file_name,
            "sha256": made.sha256,
            "sealed": self.keeper.seal(row.id, made.content),
            "made_at": now_ms,
            "delivered_at": now_ms if row.by_reply else 0,
            "attempts": 0,
            "next_attempt": now_ms,
            "code": "",
            "error": "",
        }

    def _later(self, row: Licence, error: str, asked_ms: int) -> Columns:
        wait_ms = max(retry_wait_ms(row.attempts - 1), asked_ms)
        return {
            "state": LicenceState.MAKING,
            "next_attempt": self.clock.now_ms() + wait_ms,
            "error": error[:_MAX_ERROR],
        }

    async def _upload(self, row: Licence) -> PushOutcome:
        """Step 4."""
        try:
            made = self.keeper.made(row)
        except Undecipherable as damage:
            return PushOutcome(Kind.PERMANENT, "sealed", str(damage), blame=Blame.RECORDS)
        return await self.client.upload(row.event_id, made)

    def _uploaded(self, row: Licence, outcome: PushOutcome) -> Columns:
        """Step 5, as columns. Where our keys or rights are at fault, the licence is not: it waits."""
        now_ms = self.clock.now_ms()
        said = {"code": outcome.code, "error": outcome.message[:_MAX_ERROR]}
        if outcome.kind is Kind.ACCEPTED:
            self._throttle.served()
            return {"state": LicenceState.DELIVERED, "delivered_at": now_ms, **said}
        if outcome.kind is Kind.PERMANENT and outcome.blame is Blame.RECORDS:
            log.error("licence %s is rejected: %s %s", row.id, outcome.code, outcome.message)
            return {"state": LicenceState.REJECTED, **said}
        if outcome.kind is Kind.TRANSIENT and outcome.blame is Blame.CALLER:
            self._throttle.refused(now_ms, outcome.retry_after_s)
        if row.attempts == 1:
            log.warning("licence %s is not uploaded yet: %s", row.id, outcome.code)
        wait_ms = max(retry_wait_ms(row.attempts - 1), int((outcome.retry_after_s or 0) * 1000))
        return {"state": LicenceState.UPLOADING, "next_attempt": now_ms + wait_ms, **said}

    def _count(self, step: str, result: str) -> None:
        self.results[step, result] = self.results.get((step, result), 0) + 1
