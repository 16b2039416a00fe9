"""The demo's helpers, each in a process of its own: the stub upstream and the marketplace."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from metering.tether import tethered

_STOP_S: Final = 10.0
_URL: Final = re.compile(r"https?://\S+")


@contextmanager
def running(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `python -m module` for as long as the block lasts; the URL its first line names.

    Raises RuntimeError when it ends without one.
    """
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and modules)
        tethered([sys.executable, "-m", module, *arguments]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,  # Ctrl-C is for the demo, which ends it
    )
    try:
        yield _url_of(process, [module, *arguments])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _url_of(process: subprocess.Popen[str], command: Sequence[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    found = _URL.search(line)
    if found is None:
        raise RuntimeError(f"{' '.join(command[:2])} did not start")
    return found.group()
