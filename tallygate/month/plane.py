"""The control plane of the month: the real composition; its loops are turned by hand."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.app import Control
from billing_sync.parts import Parts, set_up
from billing_sync.settings import BillingSettings, KooGallerySettings
from metering.catalogue import catalogue
from metering.clock import Clock
from metering.errors import MeteringError
from tallygate.month.faulty import FaultyRedis
from tallygate.month.goods import products
from tallygate.month.market import ACCESS_KEY, AK, SK
from tallygate.month.terms import Terms

SECRET: Final = b"a month's secret: nobody keeps it"
_MARKET: Final = "http://market"


class Plane:
    """One control plane. `failures` counts by loop and reason."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.control = Control(parts)
        self.failures: Counter[tuple[str, str]] = Counter()

    def set_up(self) -> None:
        """First start."""
        set_up(self.parts)

    async def turn(self, *, compare: bool = False) -> None:
        """Each loop once; `compare` also holds every entitlement in Redis against SQL."""
        projector = self.control.projector
        await self._try("projection", projector.run if compare else projector.project_pending)
        await self._try("chores", self.control.callbacks.resolve)
        await self._try("sync", self.control.runner.sync)
        await self._try("push", self.control.runner.outbox.push_due)

    async def project(self) -> None:
        """As it is done at once after a callback."""
        await self._try("projection", self.control.projector.project_pending)

    async def _try(self, loop: str, job: Callable[[], Awaitable[object]]) -> None:
        try:
            await job()
        except (MeteringError, SQLAlchemyError, OSError) as failure:
            self.failures[loop, type(failure).__name__] += 1


def parts_of(
    engine: Engine,
    redis: FaultyRedis,
    http: httpx.AsyncClient,
    *,
    terms: Terms,
    folder: Path,
    clock: Clock,
) -> Parts:
    """What the control plane is made from; `http` leads to the marketplace."""
    keys = {"access_key": ACCESS_KEY, "ak": AK, "sk": SK, "base_url": _MARKET}
    return Parts(
        engine=engine,
        data_dir=folder,
        redis=redis,
        http=http,
        catalogue=catalogue(products(terms.features)),
        partitions=terms.partitions,
        billing=BillingSettings(),
        koogallery=KooGallerySettings.model_validate(keys),
        static=[],
        secret=SECRET,
        admin_token="month",  # noqa: S106  (nobody listens)
        front_end_url="http://gateway.invalid",
        clock=clock,
    )
