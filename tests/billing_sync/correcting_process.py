"""A process that corrects: `python -m … FOLDER STEP NAME`.

With STEP `compete` it assigns what is there in tens of tries and makes one adjustment that its rival
makes too; with another one it adjusts and assigns, and is killed where STEP says.
"""

import os
import signal
import sys
from pathlib import Path

from billing_sync.correcting import Corrector
from billing_sync.correction_entries import Assigned
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.errors import CorrectionRefused
from billing_sync.push_entries import Entry
from billing_sync.push_log import PushLog
from billing_sync.store.engine import open_engine
from tests.billing_sync.books import MINUTE, START
from tests.billing_sync.correcting import SELLING
from tests.fakes import FakeClock

STEPS = ("judged", "half logged", "logged", "committed")


def die() -> None:
    """At once, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingLog(PushLog):
    """Dies before, in the middle of, or after the entry of the last correction."""

    def __init__(self, folder: Path, step: str) -> None:
        super().__init__(folder)
        self.step = step

    def append(self, entry: Entry, *, durable: bool) -> None:
        last = isinstance(entry, Assigned)
        if last and self.step == "judged":
            die()
        super().append(entry, durable=durable)
        if last and self.step == "half logged":
            (file,) = self.folder.glob("*.jsonl")
            os.truncate(file, file.stat().st_size - 40)
            die()
        if last and self.step == "logged":
            die()


def corrector_in(folder: Path, url: str, step: str = "") -> Corrector:
    """Of the ledger there; its push log is in the folder."""
    log = DyingLog(folder / "push", step)
    return Corrector(open_engine(url), log, SELLING, 1, FakeClock(START + 10 * MINUTE))


def adjustment() -> AdjustmentAsked:
    """Everybody's."""
    return AdjustmentAsked("a1", "i", "li", "because", quantity=-7)


def assignment(correction_id: str, quantity: int) -> AssignmentAsked:
    """Of what customer `cust-1` used."""
    return AssignmentAsked(correction_id, "cust-1", "i", "li", "his", quantity=quantity)


def compete(folder: Path, url: str, name: str) -> None:
    """Says how many assignments were taken, and whether the adjustment was."""
    corrector = corrector_in(folder, url)
    done = 0
    for number in range(20):
        try:
            done += not corrector.assign(assignment(f"{name}{number}", 50)).repeated
        except CorrectionRefused:
            break
    adjusted = not corrector.adjust(adjustment()).repeated
    sys.stdout.write(f"{done} {adjusted}\n")


def main(folder: Path, url: str, step: str, name: str) -> None:
    """As the module says."""
    if step == "compete":
        compete(folder, url, name)
        return
    corrector = corrector_in(folder, url, step)
    corrector.adjust(adjustment())
    corrector.assign(assignment("s1", 50))
    die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
