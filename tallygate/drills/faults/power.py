"""A power cut: everything stops at once, and of the journal is left what was synced.

With `fsync: interval` Redis keeps what it had, so it may know more than the journal. With `always`
its files are set back too, and the replies that customers saw complete are all there.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from metering.board import read_open
from metering.lanes import BOARD, lanes_in
from tallygate.drills import shims
from tallygate.drills.collecting import read_records
from tallygate.drills.judging import Recorded
from tallygate.drills.stage import Prepared, Stage
from tallygate.drills.terms import DidNotBite, Make

_REDIS_BACK_S: Final = 1.0
_LONGEST_MS: Final = (
    1000  # of records that a cut takes; an interval is 50 ms, and machines are busy
)


@asynccontextmanager
async def power_cut(folder: Path, *, fsync: str) -> AsyncIterator[Prepared]:
    """An installation whose journal is mirrored as far as it was synced."""
    mirror = folder / "synced"
    mirror.mkdir()
    environ = shims.install(folder, shims.POWER, mirror)
    fault = partial(_cut, mirror=mirror, redis_too=fsync == "always")
    changes = {"gateway": {"journal": {"fsync": fsync}}}
    yield Prepared(fault, Make(changes, environ))


async def _cut(stage: Stage, *, mirror: Path, redis_too: bool) -> None:
    data, earlier = stage.data_dir, stage.folder / "earlier"
    if redis_too:
        await to_thread.run_sync(_copy_redis, data, earlier)
        await anyio.sleep(_REDIS_BACK_S)
    stage.workers_died = stage.interrupted = True
    await stage.processes.kill_everything()
    before = await to_thread.run_sync(_known, data / "journal")
    await to_thread.run_sync(_set_back, data / "journal", mirror)
    after = await to_thread.run_sync(read_records, data / "journal")
    if redis_too:
        await to_thread.run_sync(_copy_redis, earlier, data)
    _note(stage, before[0], after)
    kept = {record.request_id for record in after}
    stage.unsynced |= ({record.request_id for record in before[0]} | before[1]) - kept
    await stage.start()


def _known(journal: Path) -> tuple[list[Recorded], set[str]]:
    """Every record, and the ids of every open request, as they stood in memory."""
    found = (read_open(lane.path / BOARD) for lane in lanes_in(journal) if lane.sealed() is None)
    return read_records(journal), {request.request_id for board in found for request in board}


def _note(stage: Stage, before: list[Recorded], after: list[Recorded]) -> None:
    if not after:
        raise DidNotBite("nothing of the journal was ever synced")
    kept = {record.request_id for record in after}
    times = [record.time_ms for record in before if record.request_id not in kept]
    span = max(times) - min(times) if times else 0
    stage.notes.append(f"the cut took {len(times)} records, written within {span} ms")
    if span > _LONGEST_MS:
        stage.problems.append(f"for {span} ms nothing of the journal was synced")


def _set_back(journal: Path, mirror: Path) -> None:
    """Each file as it was when its last sync began; what was never synced has no content."""
    for path in journal.rglob("*"):
        if path.is_file():
            stat = path.stat()
            synced = mirror / f"{stat.st_dev}-{stat.st_ino}"
            with path.open("r+b") as file:
                file.truncate(0)
                if synced.exists():
                    with synced.open("rb") as copy:
                        shutil.copyfileobj(copy, file)
                os.truncate(file.fileno(), stat.st_size)


def _copy_redis(source: Path, target: Path) -> None:
    """The append-only files of a data directory into another."""
    files = Path("valkey") / "appendonlydir"
    shutil.rmtree(target / files, ignore_errors=True)
    shutil.copytree(source / files, target / files)
