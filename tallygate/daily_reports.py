"""Sees to it that every day that is over gets its signed report: asks now and then which ones lack.

The report itself is written by a process of its own, `tallygate reconcile --daily`: reading a day's
journals takes long, and callbacks must be answered meanwhile. Reports that were missed are made up.
"""

import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.store import reconciling
from billing_sync.store.engine import reading
from metering.clock import Clock
from metering.tether import tethered
from metering.windows import HOUR_MS

log = logging.getLogger("tallygate")

FOLDER: Final = "reports"
DAY_MS: Final = 24 * HOUR_MS
AFTER_MS: Final = 3 * HOUR_MS  # hourly records are taken until two hours after (spec §7.2, rule 2)
MOST_DAYS: Final = 7  # made up at once; the journals of older ones go
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVERY_S: Final = 600.0

Start = Callable[[], "subprocess.Popen[bytes]"]


def lacking(folder: Path, reach: reconciling.Reach, now_ms: int) -> list[int]:
    """The days (since the epoch) without a signed report that should have one, oldest first."""
    if reach.first is None:
        return []
    end = min(reach.closed_through, now_ms - AFTER_MS) // DAY_MS
    first = max(reach.first * HOUR_MS // DAY_MS, end - MOST_DAYS)
    return [day for day in range(first, end) if not (folder / f"{name_of(day)}.sig").exists()]


def name_of(day: int) -> str:
    """The file of a day's report."""
    return f"reconciliation-{date_of(day)}.json"


def date_of(day: int) -> str:
    """A day as it is written: 2026-01-31."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def utc_text(at_ms: int) -> str:
    """A time as it is written on the command line: 2026-01-31T13:00:00Z."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")


def report_starter(config_path: Path) -> Start:
    """What starts the process. It ends with the thread that started it."""

    def start() -> "subprocess.Popen[bytes]":
        said = ["reconcile", "--daily", "-c", str(config_path.resolve())]
        argv = tethered([sys.executable, "-P", "-m", "tallygate", *said])
        return subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=2
        )

    return start


async def keep_reported(folder: Path, engine: Engine, clock: Clock, start: Start) -> None:
    """Write what lacks, again and again. Never returns; a ledger that is away is asked again."""
    while True:
        try:
            reach = await to_thread.run_sync(_reach, engine)
            if lacking(folder, reach, clock.now_ms()):
                await _ended(start())
        except (SQLAlchemyError, OSError) as problem:
            log.warning("no daily report could be written: %s", type(problem).__name__)
        await anyio.sleep(_EVERY_S)


def _reach(engine: Engine) -> reconciling.Reach:
    with reading(engine) as session:
        return reconciling.reach(session)


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    try:
        while process.poll() is None:  # noqa: ASYNC110  (a process has no event to wait for)
            await anyio.sleep(0.2)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode == 1:
        log.error("a daily report is not exact; look at it in the folder of reports")
    elif process.returncode:
        log.warning("no daily report could be written: exit code %d", process.returncode)
