"""Puts together what makes, uploads and answers for licences, from the control plane's parts."""

from dataclasses import dataclass, field
from typing import Final

import httpx
from anyio.abc import TaskGroup
from sqlalchemy import Engine

from billing_sync.koogallery.licence_upload import UploadClient
from billing_sync.licence_hook import HookMaker
from billing_sync.licence_jobs import LicenceJobs
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_makers import FunctionMaker, Maker, NoMaker, function_of
from billing_sync.repeating import Repeater, Wake
from billing_sync.settings import KooGallerySettings, LicenceSettings
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

MAKERS: Final = 4  # asked at once: one that is slow holds few others up


@dataclass
class LicencePlant:
    """The loops of one control plane that work on licences."""

    jobs: LicenceJobs
    _wishes: list[Wake] = field(default_factory=lambda: [Wake() for _ in range(MAKERS)])

    def wake(self) -> None:
        """Somebody wants a licence. Only from the event loop's own thread."""
        for wish in self._wishes:
            wish.set()
        self.jobs.made.set()

    def start(self, group: TaskGroup, repeater: Repeater, every_s: float) -> None:
        """Loops that make, none waiting for another, and one that uploads what was made before, too."""
        for wish in [] if isinstance(self.jobs.maker, NoMaker) else self._wishes:
            group.start_soon(repeater.forever, "licence making", self.jobs.make_due, every_s, wish)
        upload = self.jobs.upload_due
        group.start_soon(repeater.forever, "licence upload", upload, every_s, self.jobs.made)


def maker_of(settings: LicenceSettings, http: httpx.AsyncClient, clock: Clock) -> Maker:
    """The maker of these settings. Raises MakerUnusable."""
    if settings.maker is None:
        return NoMaker()
    if not settings.is_hook:
        return FunctionMaker(function_of(settings.maker), settings.timeout)
    secrets = [secret.get_secret_value() for secret in settings.secrets]
    return HookMaker(http, settings.maker, secrets, clock, settings.timeout)


def plant_of(
    engine: Engine,
    http: httpx.AsyncClient,
    settings: KooGallerySettings,
    catalogue: Catalogue,
    keeper: Keeper,
    clock: Clock,
) -> LicencePlant:
    """What works on the licences of this ledger. Raises MakerUnusable."""
    jobs = LicenceJobs(
        sql=SqlWorker(engine),
        catalogue=catalogue,
        keeper=keeper,
        maker=maker_of(settings.licence, http, clock),
        client=UploadClient(http, settings, clock),
        clock=clock,
        timeout_s=settings.licence.timeout,
    )
    return LicencePlant(jobs)
