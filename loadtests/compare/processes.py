"""Processes of a comparison: started on their cores, awaited, and ended by their own ids."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from metering.tether import tethered

_STOP_S: Final = 8.0
_POLL_S: Final = 0.01


class DidNotStart(Exception):
    """It ended, or answered nothing in time. The message has the end of what it wrote."""


@dataclass(frozen=True)
class Command:
    """What to start: the command (a full path first), where, and with which additions to the environment."""

    argv: Sequence[str]
    folder: Path
    cores: Iterable[int]
    environ: Mapping[str, str] = field(default_factory=dict)
    name: str = "process"


@contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What this thread starts inside the block runs on these cores; itself it comes back."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(command: Command) -> Iterator[subprocess.Popen[bytes]]:
    """Run it until the block ends. It dies with us; what it writes is kept in its folder."""
    log = command.folder / f"{command.name}.log"
    with log.open("ab") as out, on_cores(command.cores):
        process = subprocess.Popen(  # noqa: S603  (commands of our own making, no shell)
            tethered(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=command.folder,
            env={**os.environ, **command.environ},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


@contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """These processes get no time inside the block."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop; past the time, or of what it left behind in its own session, kill."""
    if process.poll() is None:
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the session that it was started in is its own
    process.wait()


def listening(process: subprocess.Popen[bytes], port: int, log: Path, patience_s: float) -> None:
    """Return when something accepts on the port. Raises DidNotStart."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_POLL_S)
    raise DidNotStart(f"nothing on port {port}: {last_words(log)}")


def last_words(log: Path) -> str:
    """The end of what a process wrote, as one line."""
    said = log.read_text(errors="replace") if log.exists() else ""
    return " ".join(said.split())[-300:]


def free_port() -> int:
    """A port on 127.0.0.1 that nobody used a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def parent_of(pid: int) -> int:
    """The parent's id; 0 for a process that is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    return 0


def descendants(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            children.setdefault(parent_of(int(entry)), []).append(int(entry))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family
