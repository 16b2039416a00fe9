"""A process that makes and uploads a licence and is killed on the way: `python -m … STEP LEDGER API`.

STEP names what was done last.
"""

import os
import signal
import sys
from typing import Any

import anyio
from sqlalchemy import Engine

from billing_sync.koogallery.outcomes import PushOutcome
from billing_sync.licence_jobs import Columns, LicenceJobs
from billing_sync.licence_models import Licence
from billing_sync.store.engine import open_engine
from tests.billing_sync.licensing import Maker, Shop, jobs_of

STEPS = ("claimed", "made", "stored", "claimed again", "uploaded", "confirmed")


def die() -> None:
    """At once, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingJobs(LicenceJobs):
    """Dies between two steps."""

    step = ""

    async def _ask(self, row: Licence) -> Columns:
        if self.step == "claimed":
            die()
        columns = await super()._ask(row)
        if self.step == "made":
            die()
        return columns

    async def upload_due(self) -> int:
        if self.step == "stored":
            die()
        return await super().upload_due()

    async def _upload(self, row: Licence) -> PushOutcome:
        if self.step == "claimed again":
            die()
        outcome = await super()._upload(row)
        if self.step == "uploaded":
            die()
        return outcome


async def work(engine: Engine, step: str, url: str) -> None:
    """A licence is asked for, made and uploaded."""
    shop = Shop(engine, url)
    await shop.ask(await shop.licensed("o1"))
    plain: LicenceJobs = jobs_of(engine, Maker(), shop.http, shop)
    known: dict[str, Any] = {
        name: getattr(plain, name)
        for name in ("sql", "catalogue", "keeper", "maker", "client", "clock", "timeout_s")
    }
    jobs = DyingJobs(**known)
    jobs.step = step
    await jobs.make_due()
    await jobs.upload_due()
    die()


if __name__ == "__main__":
    anyio.run(work, open_engine(sys.argv[2]), sys.argv[1], sys.argv[3])
