"""The disk under `data_dir` is full: calls are refused, and served again when there is room.

Where it is allowed, `data_dir` is a small file system of its own, filled to the last block. Where
it is not, giving blocks to files fails instead.
"""

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio

from tallygate.drills import shims
from tallygate.drills.configuration import WORKERS
from tallygate.drills.faults.killing import running
from tallygate.drills.processes import kill
from tallygate.drills.stage import Prepared, Stage
from tallygate.drills.terms import DidNotBite, Make

_SIZE_MIB: Final = 160
_SHARE: Final = 0.3  # of the load's time without room, after the first refusal
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.05
_UNSHARE: Final = ("unshare", "-Urm")
_MOUNT: Final = f'mount -t tmpfs -o size={_SIZE_MIB}m,mode=700 drill "$0" && exec "$@"'


@asynccontextmanager
async def disk_full(folder: Path) -> AsyncIterator[Prepared]:
    """An installation with a small disk, or one whose files are given no blocks."""
    async with (_small_disk if _may_mount(folder) else without_blocks)(folder) as prepared:
        yield prepared


@asynccontextmanager
async def _small_disk(folder: Path) -> AsyncIterator[Prepared]:
    var = folder / "var"
    var.mkdir()
    yield Prepared(_fill, Make(wrap=(*_UNSHARE, "sh", "-c", _MOUNT, str(var))))


@asynccontextmanager
async def without_blocks(folder: Path) -> AsyncIterator[Prepared]:
    """As where no file system may be mounted."""
    flag = folder / "full"

    async def fault(stage: Stage) -> None:
        flag.touch()
        try:
            await _no_room(stage)
        finally:
            flag.unlink()

    yield Prepared(fault, Make(environ=shims.install(folder, shims.DISK, flag)))


def _may_mount(folder: Path) -> bool:
    with suppress(OSError):
        mounts = (*_UNSHARE, "mount", "-t", "tmpfs", "drill", str(folder))
        return subprocess.run(mounts, capture_output=True, check=False).returncode == 0  # noqa: S603
    return False


async def _fill(stage: Stage) -> None:
    filler = stage.data_dir / "filler"
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_full, filler)
        await _no_room(stage)
        group.cancel_scope.cancel()
    filler.unlink()


async def _keep_full(filler: Path) -> None:
    """Take every block, also those that others give back."""
    with filler.open("ab", buffering=0) as file:
        while True:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
            await anyio.sleep(_POLL_S)


async def _no_room(stage: Stage) -> None:
    """Journals have room for a while: it is new workers who find none. Raises DidNotBite."""
    books = stage.load.books
    stage.workers_died = stage.interrupted = True
    await anyio.sleep(_POLL_S)
    for victim in await running(stage, "gateway", WORKERS):
        kill(victim, signal.SIGKILL)
    with anyio.move_on_after(_PATIENCE_S) as patience:
        while not books.refused[503]:  # noqa: ASYNC110  (calls)
            await anyio.sleep(_POLL_S)
    if patience.cancelled_caught:
        raise DidNotBite("no call was refused with 503")
    await anyio.sleep(stage.terms.seconds * _SHARE)
