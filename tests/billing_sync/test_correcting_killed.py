"""Corrections under `kill -9`: between any two steps, the same one asked again is done once."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from billing_sync.correction_entries import Assigned
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.errors import NothingToRecover
from billing_sync.models import UsageWindow
from billing_sync.recovery import recover
from tests.billing_sync.correcting import SELLING, Desk
from tests.billing_sync.correcting_process import STEPS, adjustment, assignment
from tests.billing_sync.pushing import log_of
from tests.databases import place_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(engine: Engine) -> Desk:
    """With an instance, and some suspense that it may be charged for."""
    desk = Desk(engine)
    desk.books.buy("i")
    desk.serve(80)
    return desk


def killed_at(desk: Desk, step: str) -> None:
    """A process adjusts, assigns and is killed there."""
    where = place_of(desk.books.engine)
    module = "tests.billing_sync.correcting_process"
    done = subprocess.run(
        [sys.executable, "-m", module, *where, step, "-"], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def logged(desk: Desk) -> int:
    """How often the assignment stands in the push log."""
    lines = log_of(desk.books.engine).lines()
    return sum(isinstance(line.entry, Assigned) for line in lines)


def charged(desk: Desk) -> int:
    """To the instance."""
    return sum(row.quantity for row in desk.books.all(UsageWindow) if row.instance_id == "i")


@pytest.mark.parametrize(
    ("step", "before", "in_ledger"),
    [("judged", 0, 0), ("half logged", 0, 0), ("logged", 1, 0), ("committed", 1, 1)],
)
def test_asked_again_after(desk: Desk, step: str, before: int, in_ledger: int) -> None:
    """It is in the ledger once, and in the log at least once."""
    assert step in STEPS
    killed_at(desk, step)
    assert (logged(desk), len(desk.books.all(Assignment))) == (before, in_ledger)
    assert desk.corrector.adjust(adjustment()).repeated
    assert desk.corrector.assign(assignment("s1", 50)).repeated is bool(in_ledger)
    assert charged(desk) == 50
    assert len(desk.books.all(Assignment)) == 1
    assert desk.carry() == desk.owed(-7)
    assert logged(desk) >= 1


@pytest.mark.parametrize(("step", "in_ledger"), [("logged", 0), ("committed", 1)])
def test_recovered_after(desk: Desk, step: str, in_ledger: int) -> None:
    """What stands in the log and not in the ledger was asked for: the next recovery brings it, once,
    and who asks for it again is told that it is there."""
    killed_at(desk, step)
    log, now_ms = log_of(desk.books.engine), desk.books.clock.now_ms()
    if not in_ledger:
        assert recover(desk.books.engine, log, SELLING, now_ms).corrections == 1
    with pytest.raises(NothingToRecover):
        recover(desk.books.engine, log, SELLING, now_ms)
    assert desk.corrector.assign(assignment("s1", 50)).repeated
    assert charged(desk) == 50
    assert [row.quantity for row in desk.books.all(Adjustment)] == [-7]
