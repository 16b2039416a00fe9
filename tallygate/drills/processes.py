"""The processes of one running installation: `tallygate serve`, and everything it started.

Found in /proc by their parents, or by the drill's own temporary folder on their command line: a
helper outlives the worker that started it. Nothing else is ever signalled.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import anyio

from metering.tether import tethered

PROC: Final = Path("/proc")
_STOP_S: Final = 60.0
_POLL_S: Final = 0.02


class DidNotStop(Exception):
    """`tallygate serve` did not end in time, or not well."""


class Running(NamedTuple):
    """A process: its id, its parent's, and its command line as words."""

    pid: int
    parent: int
    words: tuple[str, ...]

    @property
    def role(self) -> str:
        """`gateway`, `control`, `valkey` or another word of ours."""
        if not self.words:
            return ""
        if self.words[0].split(" ")[0].endswith("valkey-server"):  # it writes its own title there
            return "valkey"
        after = self.words.index("tallygate") + 1 if "tallygate" in self.words else -1
        return self.words[after] if 0 < after < len(self.words) else ""

    def names(self, folder: Path) -> bool:
        """Whether the folder, or something in it, stands on its command line."""
        return any(str(folder) in word for word in self.words)


class Processes:
    """`tallygate serve` of one folder. Start it from the main thread, or from one that stays."""

    def __init__(self, folder: Path, environ: Mapping[str, str], wrap: Sequence[str] = ()) -> None:
        """`environ` is added to our own; `wrap` is a command that runs the rest of its arguments."""
        self._folder = folder
        self._environ = environ
        self._wrap = wrap
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "serve.log"

    def start(self) -> None:
        """Start it; it says on its own when it is ready. Raises OSError."""
        config = str(self._folder / "tallygate.yaml")
        serve = [sys.executable, "-P", "-m", "tallygate", "serve", "-c", config]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own module)
                [*self._wrap, *tethered(serve)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environ},
                start_new_session=True,  # Ctrl-C is for the drill, which ends it
            )

    @property
    def running(self) -> bool:
        """Is the supervisor alive?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None  # noqa: S101  (started before)
        return self._process.pid

    def of(self, role: str) -> list[int]:
        """Process ids of the supervisor's own children with this role, oldest first."""
        return sorted(p.pid for p in _all() if p.parent == self.pid and p.role == role)

    def roles(self) -> list[tuple[str, int]]:
        """Role and id of everything that belongs to the installation; the supervisor comes first."""
        family = [p for p in _all() if p.pid != self.pid]
        found = {self.pid: "serve"}
        found |= {p.pid: p.role for p in family if p.parent == self.pid or p.names(self._folder)}
        return [(role, pid) for pid, role in found.items()]

    def complaints(self) -> list[str]:
        """What no fault of the machine excuses in what they said: stack traces."""
        traces = self.log.read_bytes().count(b"Traceback (most recent call last)")
        return [f"{traces} stack traces in the log"] if traces else []

    async def end(self) -> int:
        """SIGTERM, as a deploy does; its exit status. Raises DidNotStop."""
        process = self._process
        assert process is not None  # noqa: S101  (started before)
        process.terminate()
        with anyio.move_on_after(_STOP_S):
            while process.poll() is None:  # noqa: ASYNC110  (a process)
                await anyio.sleep(_POLL_S)
        if process.returncode is None:
            raise DidNotStop(f"tallygate serve did not stop within {_STOP_S:.0f} s")
        return process.returncode

    async def kill_everything(self) -> None:
        """SIGKILL for all of them, the supervisor first, so that nothing is started again."""
        pids = [pid for _, pid in self.roles()]
        for pid in pids:
            kill(pid, signal.SIGKILL)
        assert self._process is not None  # noqa: S101  (started before)
        self._process.wait()
        for pid in pids:
            await self.gone(pid)

    async def gone(self, pid: int) -> None:
        """Return when a process that was killed runs no longer. Raises DidNotStop."""
        with anyio.move_on_after(_STOP_S):
            while _alive(pid):  # noqa: ASYNC110  (a process)
                await anyio.sleep(_POLL_S)
            return
        raise DidNotStop(f"process {pid} does not end")


def kill(pid: int, number: signal.Signals) -> None:
    """Signal one process; one that is gone already is no error."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _alive(pid: int) -> bool:
    """Whether it still runs; a zombie, whose parent has other worries, does not."""
    found = _read(pid)
    return found is not None and bool(found.words)


def _all() -> Iterator[Running]:
    for entry in os.listdir(PROC):
        if entry.isdigit():
            found = _read(int(entry))
            if found is not None:
                yield found


def _read(pid: int) -> Running | None:
    with suppress(OSError):
        parent = int((PROC / f"{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
        words = (PROC / f"{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return Running(pid, parent, tuple(words[:-1]))
    return None
