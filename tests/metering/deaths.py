"""Kills a life at one line after the other, and looks at what each death leaves behind.

Run as a script: it forks, and a test's process has threads. A child lives its life and kills itself
by SIGKILL when it has come to a line of the files that are watched for the n-th time.
"""

import json
import mmap
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

# Only reads, in a loop over thousands of slots.
_LONG = frozenset({"read_open"})

Trace = Callable[[FrameType, str, Any], Any]


class Told:
    """What a life had done, known also after its death: counters that its killer shares."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def __setitem__(self, place: int, value: int) -> None:
        self._page[place * 8 : place * 8 + 8] = value.to_bytes(8, "little")

    def __getitem__(self, place: int) -> int:
        return int.from_bytes(self._page[place * 8 : place * 8 + 8], "little")


def lines_of(*modules: ModuleType) -> frozenset[str]:
    """The files of the modules."""
    return frozenset(str(module.__file__) for module in modules)


def dies(life: Callable[[], object], files: frozenset[str], line: int, *, beside: bool) -> bool:
    """Whether the life ended before it had come to so many lines; else it was killed there.

    `beside` counts the lines of its other threads instead of the first one's.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _live(life, files, line, beside)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.WEXITSTATUS(status) == 0, f"the life failed with {status}"
    return False


def _live(life: Callable[[], object], files: frozenset[str], line: int, beside: bool) -> None:
    left = line

    def at_line(frame: FrameType, event: str, arg: Any) -> Trace:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    def at_call(frame: FrameType, event: str, arg: Any) -> Trace | None:
        code = frame.f_code
        return at_line if code.co_filename in files and code.co_name not in _LONG else None

    if beside:
        threading.settrace(at_call)
    else:
        sys.settrace(at_call)
    try:
        life()
    except BaseException:  # noqa: BLE001  (the child must not go on as its parent)
        sys.settrace(None)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def deaths(
    make: Callable[[], Callable[[], object]],
    files: frozenset[str],
    *,
    first: int = 1,
    step: int = 1,
    beside: bool = False,
    most: int = 1 << 30,
) -> Iterator[int]:
    """Each line at which a life was killed. `make` sets the stage anew and gives the next life."""
    line = first
    for _ in range(most):
        if not dies(make(), files, line, beside=beside):
            return
        yield line
        line += step


def report(**found: object) -> None:
    """Say what was seen, for the test that ran the script."""
    sys.stdout.write(json.dumps(found) + "\n")


class Stage:
    """A new empty folder for each life; those of earlier ones are removed."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._count = 0
        self.folder = base

    def clear(self) -> Path:
        if self._count:
            shutil.rmtree(self.folder)
        self._count += 1
        self.folder = self._base / f"{self._count:05d}"
        self.folder.mkdir(parents=True)
        return self.folder
