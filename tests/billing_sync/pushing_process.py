"""A process that pushes one batch and is killed in its middle: `python -m … FOLDER STEP LEDGER`.

STEP names what was done last. Its marketplace is a file: what was posted, a line each.
"""

import os
import signal
import sys
import uuid
from pathlib import Path

import anyio
import anyio.lowlevel

from billing_sync.koogallery.outcomes import PushOutcome
from billing_sync.outbox import Outbox
from billing_sync.push_entries import Claimed, Entry
from billing_sync.push_log import PushLog
from billing_sync.store.engine import open_engine
from tests.billing_sync.books import START
from tests.billing_sync.pushing import ACCEPTED
from tests.fakes import FakeClock

STEPS = ("claimed", "half logged", "logged", "posted", "outcome logged")


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
        if is_claim and self.step == "claimed":
            die()
        super().append(entry, durable=durable)
        if is_claim and self.step == "half logged":
            (file,) = self.folder.glob("*.jsonl")
            os.truncate(file, file.stat().st_size - 40)
            die()
        if self.step == ("logged" if is_claim else "outcome logged"):
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


def main(folder: Path, step: str, url: str) -> None:
    """Push what is due, and die on the way."""
    engine = open_engine(url)
    market = FileMarket(folder / "posted", step)
    log = DyingLog(folder / "push", step)
    outbox = Outbox(engine, market, FakeClock(START), log, lambda: uuid.uuid4().hex)
    anyio.run(outbox.push_due)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
