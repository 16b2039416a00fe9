"""Runs `tallygate reconcile` and `tallygate explain` for the console, and reads the daily reports.

Each command is a process of its own, one at a time, with a bound on its time and on what it may say:
reading journals takes long, and callbacks must be answered meanwhile.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from billing_sync.console.ports import Printed, Proof
from billing_sync.errors import BadQuestion, ProofUnavailable
from metering.clock import Clock
from metering.tether import tethered
from metering.windows import HOUR_MS
from tallygate.daily_reports import utc_text

_BUDGET_S: Final = 60.0
_MOST_BYTES: Final = 200_000
_LOOK_BACK_MS: Final = 24 * HOUR_MS
_TAIL: Final = 512  # the verdict stands at the end of a report
_LONGEST_ID: Final = 256
_WELL, _FOUND = 0, 1


class CommandProver:
    """`folder` is where the daily reports are."""

    def __init__(self, config_path: Path, folder: Path, clock: Clock) -> None:
        self._config = str(config_path.resolve())
        self._folder = folder
        self._clock = clock
        self._busy = False
        self._asked: Proof | None = None

    def reports(self, most: int) -> Sequence[Proof]:
        """The newest first; those that cannot be read are left out."""
        paths = sorted(self._folder.glob("reconciliation-*.json"), reverse=True)[:most]
        return [proof for path in paths if (proof := _read(path)) is not None]

    def last(self) -> Proof | None:
        """The newest of the reports and of what was asked for here."""
        known = [*self.reports(1), *([self._asked] if self._asked else [])]
        return max(known, key=lambda proof: proof.at, default=None)

    async def reconcile(self) -> Printed:
        """The last 24 hours. Raises ProofUnavailable."""
        since = utc_text(self._clock.now_ms() - _LOOK_BACK_MS)
        printed = await self._run("reconcile", "-c", self._config, "--from", since)
        self._asked = Proof(self._clock.now_ms(), printed.well)
        return printed

    async def explain(self, wanted: str) -> Printed:
        """Raises ProofUnavailable, and BadQuestion for what is no id."""
        if not wanted or len(wanted) > _LONGEST_ID or not wanted.isascii():
            raise BadQuestion("an id is 1 to 256 printable ASCII characters")
        return await self._run("explain", "-c", self._config, "--", wanted)

    async def _run(self, *said: str) -> Printed:
        """Raises ProofUnavailable where the command could not do it, or took too long."""
        argv = tethered([sys.executable, "-P", "-m", "tallygate", *said])
        if self._busy:
            raise ProofUnavailable("another one is running; try again in a moment")
        self._busy = True
        try:
            with anyio.fail_after(_BUDGET_S):
                return await _printed(argv)
        except TimeoutError:
            text = f"it took longer than {_BUDGET_S:.0f} s; run `tallygate {said[0]}` yourself"
            raise ProofUnavailable(text) from None
        except OSError as problem:
            raise ProofUnavailable(f"it cannot be run: {problem.strerror}") from None
        finally:
            self._busy = False


async def _printed(argv: Sequence[str]) -> Printed:
    process = await anyio.open_process(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, cut = await _output(process)
        if cut:
            process.terminate()
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
    text = said.decode("utf-8", "replace")
    if code not in (_WELL, _FOUND) and not cut:
        raise ProofUnavailable((text.strip().splitlines() or ["it failed"])[-1][:400])
    return Printed(text, code == _WELL, cut)


async def _output(process: Process) -> tuple[bytes, bool]:
    said = bytearray()
    if process.stdout is not None:
        async for chunk in process.stdout:
            said += chunk
            if len(said) > _MOST_BYTES:
                return bytes(said[:_MOST_BYTES]), True
    return bytes(said), False


def _read(path: Path) -> Proof | None:
    """The verdict alone: a report may be long. One without signature is not done yet."""
    try:
        if not path.with_name(f"{path.name}.sig").exists():
            return None
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _TAIL, 0))
            tail = file.read()
        written = path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None
    _, found, verdict = tail.rpartition(b'"verdict":{')
    if not found:
        return None
    day = path.stem.removeprefix("reconciliation-")
    return Proof(written, b'"exact":true' in verdict, day)
