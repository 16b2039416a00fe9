"""The wall clock steps: for the gateways alone, for the control plane alone, and for all."""

import mmap
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from tallygate.drills import shims
from tallygate.drills.stage import Prepared, Stage
from tallygate.drills.terms import Make

_MINUTE_NS: Final = 60 * 10**9
_HOUR_NS: Final = 60 * _MINUTE_NS
# (gateways, everybody else), one after another; the last one is right again.
_STEPS: Final = (
    (10 * _MINUTE_NS, 10 * _MINUTE_NS),
    (_HOUR_NS, 0),
    (-_HOUR_NS, 0),
    (0, 10 * _MINUTE_NS),
    (-_HOUR_NS, -_HOUR_NS),
    (0, 0),
)
_SHARE: Final = 0.5  # of the load's time that the clocks are wrong
_OFFSETS: Final = struct.Struct("<qq")


@asynccontextmanager
async def clock_step(folder: Path) -> AsyncIterator[Prepared]:
    """Processes whose clock is what a file says."""
    path = folder / "clock"
    path.write_bytes(_OFFSETS.pack(0, 0))
    environ = shims.install(folder, shims.CLOCK, path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), _OFFSETS.size) as offsets:

        async def fault(stage: Stage) -> None:
            for step in _STEPS:
                _OFFSETS.pack_into(offsets, 0, *step)
                await anyio.sleep(stage.terms.seconds * _SHARE / len(_STEPS))

        yield Prepared(fault, Make(environ=environ))
