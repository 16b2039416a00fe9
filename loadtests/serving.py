"""Processes of our own that a load test runs, and that end with it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metering.tether import tethered


@contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m …` for as long as the block lasts; what it says on standard error is kept."""
    with log.open("w") as errors:
        started = subprocess.Popen(  # noqa: S603  (our own modules)
            tethered([sys.executable, "-P", "-m", *words]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
    with started:
        try:
            yield started
        finally:
            started.terminate()


def first_line(started: subprocess.Popen[str]) -> str:
    """What it says once it serves; empty when it ended before."""
    return "" if started.stdout is None else started.stdout.readline().strip()
