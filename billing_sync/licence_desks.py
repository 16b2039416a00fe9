"""Who answers the marketplace's calls about licences and authorization codes (spec §4), of both versions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from billing_sync.code_keeping import CodeDesk
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.fields import Callback
from billing_sync.koogallery.licence_fields import CODE_ACTIVITIES, LicenceAsked, to_asked
from billing_sync.licence_asking import LicenceDesk
from billing_sync.licence_keeping import Keeper
from billing_sync.lifecycle import Activity
from billing_sync.models import Instance
from billing_sync.settings import LicenceSettings
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

ACTIVITIES: Final = CODE_ACTIVITIES | {Activity.LICENCE}


@dataclass
class LicenceDesks:
    """As LicenceDesk and CodeDesk, which it makes."""

    sql: SqlWorker
    settings: LicenceSettings
    catalogue: Catalogue
    keeper: Keeper
    clock: Clock
    resolve: Callable[[Sequence[Instance]], Awaitable[int]]
    on_wish: Callable[[], None]

    def __post_init__(self) -> None:
        accepts = self.settings.unknown_codes == "accept"
        self._codes = CodeDesk(self.sql, self.keeper, self.clock, accepts)
        self._licences = LicenceDesk(
            sql=self.sql,
            catalogue=self.catalogue,
            keeper=self.keeper,
            clock=self.clock,
            resolve=self.resolve,
            on_wish=self.on_wish,
            answer_within_s=self.settings.answer_within,
        )

    async def answer(self, callback: Callback, sent_at: int) -> Answer:
        """The reply to a V2.0 call of ACTIVITIES. Raises BadEvent, SQLAlchemyError."""
        if callback.activity is Activity.LICENCE:
            return await self._licences.answer(to_asked(callback))
        return await self._codes.answer(callback, sent_at)

    async def with_licence(self, created: Answer, expires: int) -> Answer:
        """The reply to getLicense, whose instance was just created: the licence stands in it.

        There is one licence of such an instance, so its id stands for the event.
        """
        asked = LicenceAsked(
            event_id=created.instance_id,
            instance_id=created.instance_id,
            effective=self.clock.now_ms(),
            expires=expires,
            by_reply=True,
        )
        return replace(await self._licences.answer(asked), instance_id=created.instance_id)
