"""A process that pushes one batch and is killed in its middle: `python -m … FOLDER STEP LEDGER`.

STEP names what was done last. Its marketplace is a file: what was posted, a line each.
"""

import os
import signal
import sys
import uuid
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.acting import Decision, perform
from billing_sync.koogallery.outcomes import PushOutcome
from billing_sync.outbox import Outbox
from billing_sync.push_entries import Acted, Claimed, Entry
from billing_sync.push_log import PushLog
from billing_sync.settings import BillingSettings, HoldSettings
from billing_sync.states import Act
from billing_sync.store.engine import open_engine
from billing_sync.tending import Tender
from billing_sync.watching import Terms
from tests.billing_sync.books import CATALOGUE, MINUTE, START
from tests.billing_sync.pushing import ACCEPTED
from tests.fakes import FakeClock

STEPS = ("claimed", "half logged", "logged", "posted", "outcome logged")
TENDING = ("reviewing", "reviewed", "collecting", "collected")
ACTING = ("half an act logged", "act logged")

TENDED = START + 16 * MINUTE


def die() -> None:
    """At once, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingLog(PushLog):
    """Dies before, in the middle of, or after an entry."""

    def __init__(self, folder: Path, step: str) -> None:
        super().__init__(folder)
        self.step = step

    def append(self, entry: Entry, *, durable: bool) -> None:
        is_claim = isinstance(entry, Claimed)
        is_act = isinstance(entry, Acted)
        if is_claim and self.step == "claimed":
            die()
        super().append(entry, durable=durable)
        if (is_claim and self.step == "half logged") or (
            is_act and self.step == "half an act logged"
        ):
            (file,) = self.folder.glob("*.jsonl")
            os.truncate(file, file.stat().st_size - 40)
            die()
        if self.step == ("act logged" if is_act else "logged" if is_claim else "outcome logged"):
            die()


class FileMarket:
    """Takes everything, and remembers it beyond the process."""

    def __init__(self, path: Path, step: str = "") -> None:
        self.path = path
        self.step = step

    async def push(self, body: bytes) -> PushOutcome:
        with self.path.open("ab") as posted:
            posted.write(body + b"\n")
        if self.step == "posted":
            die()
        await anyio.lowlevel.checkpoint()
        return ACCEPTED


class DyingTender(Tender):
    """Dies before the commit of a step that did something, or after it."""

    step = ""

    def tend(self) -> None:
        super().tend()
        if self.step in ("reviewed", "collected"):
            die()

    def _review(self, session: Session) -> int:
        return self._die_in("reviewing", super()._review(session), session)

    def _age(self, session: Session) -> int:
        return self._die_in("collecting", super()._age(session), session)

    def _die_in(self, step: str, done: int, session: Session) -> int:
        session.flush()
        if done and self.step == step:
            die()
        return done


def dying_tender(engine: Engine, step: str) -> DyingTender:
    """Holds what is more than ten times the usual, a quarter past the hour."""
    billing = BillingSettings(hold=HoldSettings(times=Decimal(10)))
    tender = DyingTender(
        engine, FakeClock(TENDED), lambda: uuid.uuid4().hex, Terms(CATALOGUE), billing
    )
    tender.step = step
    return tender


def main(folder: Path, step: str, url: str) -> None:
    """Push what is due, or decide about r0, and die on the way."""
    engine = open_engine(url)
    if step in ACTING:
        decision = Decision(Act.REJECT, "r0", "ann", "a test run")
        perform(engine, DyingLog(folder / "push", step), decision, act_id="act", now_ms=START)
    market = FileMarket(folder / "posted", step)
    log = DyingLog(folder / "push", step)
    tender = dying_tender(engine, step) if step in TENDING else None
    outbox = Outbox(engine, market, FakeClock(START), log, lambda: uuid.uuid4().hex, tender=tender)
    anyio.run(outbox.push_due)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
