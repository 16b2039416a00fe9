"""The demo's helpers, each in a process of its own: the stub upstream and the marketplace."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from metering.tether import tethered

_START_S: Final = 30.0
_STOP_S: Final = 10.0
_URL: Final = re.compile(r"https?://\S+")


class DidNotStart(Exception):
    """A helper ended, or said nothing, before it served."""


@asynccontextmanager
async def running(
    module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Run `python -m module` for as long as the block lasts; the URL its first line names.

    Raises DidNotStart. Call it from the main thread, for the process dies with its thread.
    """
    process = subprocess.Popen(  # noqa: S603, ASYNC220  (our own modules; starting takes no time)
        tethered([sys.executable, "-P", "-m", module, *arguments]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,  # Ctrl-C is for the demo, which ends it
    )
    try:
        yield await _url_of(process, module)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _url_of(process: subprocess.Popen[str], module: str) -> str:
    assert process.stdout is not None  # noqa: S101  (for the type checker)
    line = ""
    with anyio.move_on_after(_START_S):
        await anyio.wait_readable(process.stdout)
        line = process.stdout.readline()
    found = _URL.search(line)
    if found is None:
        raise DidNotStart(f"{module} did not start")
    return found.group()


async def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with anyio.move_on_after(_STOP_S):
        while process.poll() is None:  # noqa: ASYNC110  (a process)
            await anyio.sleep(0.02)
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
