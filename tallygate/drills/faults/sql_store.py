"""Faults of the SQL ledger: locked by somebody else, or restored from an earlier copy."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from tallygate.drills.configuration import WORKERS
from tallygate.drills.faults.killing import killed
from tallygate.drills.processes import kill
from tallygate.drills.stage import Stage
from tallygate.drills.terms import DidNotBite

_SHARE: Final = 0.3  # of the load's time that the ledger is away, or that the copy is old
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.1
_COMMAND_S: Final = 60.0
_DRAINS: Final = 2  # of partitions, that the copy lacks


async def sql_locked(stage: Stage) -> None:
    """Another process holds the ledger's write lock."""
    link = await to_thread.run_sync(_lock, stage.data_dir / "ledger.db")
    try:
        await anyio.sleep(stage.terms.seconds * _SHARE)
    finally:
        await to_thread.run_sync(link.close)


def _lock(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False, isolation_level=None)
    link.execute("BEGIN EXCLUSIVE")
    return link


async def sql_rollback(stage: Stage) -> None:
    """The ledger is restored from a copy of some seconds ago; then `tallygate recover` is run.

    A worker dies after the copy: its lane is in the ledger when that is set back, and is not after.
    """
    ledger, earlier = stage.data_dir / "ledger.db", stage.folder / "earlier.db"
    await to_thread.run_sync(_copy, ledger, earlier)
    await killed(stage, "gateway", WORKERS)
    await anyio.sleep(stage.terms.seconds * _SHARE)
    await _until_ahead(ledger, earlier)
    with _nobody_restarts(stage):
        (victim,) = stage.processes.of("control")
        kill(victim, signal.SIGKILL)
        await stage.processes.gone(victim)
        for suffix in ("-wal", "-shm"):
            ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
        await to_thread.run_sync(shutil.copy, earlier, ledger)
    await _until_billing(stage, stopped=True)
    await _recover(stage)
    await _until_billing(stage, stopped=False)


async def _until_ahead(ledger: Path, earlier: Path) -> None:
    """Return when the ledger has drained what the copy has not. Raises DidNotBite."""
    known = await to_thread.run_sync(_drains, earlier)
    with anyio.move_on_after(_PATIENCE_S):
        while await to_thread.run_sync(_drains, ledger) < known + _DRAINS:  # noqa: ASYNC110
            await anyio.sleep(_POLL_S)
        return
    raise DidNotBite("the ledger takes nothing over")


def _drains(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as link:
        return int(link.execute("select count(*) from drain").fetchone()[0])


async def _until_billing(stage: Stage, *, stopped: bool) -> None:
    """Return when the control plane has stopped billing, or goes on. Raises DidNotBite."""
    with anyio.move_on_after(_PATIENCE_S):
        while True:
            reason = await stage.stopped_billing()
            if reason is not None and bool(reason) is stopped:
                return
            await anyio.sleep(_POLL_S)
    now = "was not stopped" if stopped else "did not go on"
    raise DidNotBite(f"billing {now} after the ledger was set back")


@contextmanager
def _nobody_restarts(stage: Stage) -> Iterator[None]:
    """The supervisor stands still meanwhile."""
    kill(stage.processes.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(stage.processes.pid, signal.SIGCONT)


def _copy(source: Path, target: Path) -> None:
    """A backup as a merchant would make it: whole, while the ledger is in use."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


async def _recover(stage: Stage) -> None:
    config = str(stage.folder / "tallygate.yaml")
    argv = [sys.executable, "-P", "-m", "tallygate", "recover", "-c", config]
    with anyio.move_on_after(_COMMAND_S):
        done = await anyio.run_process(argv, check=False, stderr=subprocess.STDOUT)
        if done.returncode:
            last = done.stdout.decode(errors="replace").strip().splitlines()[-1:]
            stage.problems.append(f"tallygate recover ended with {done.returncode}: {last}")
        return
    raise DidNotBite("tallygate recover did not end")
