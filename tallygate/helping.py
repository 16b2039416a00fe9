"""Helper processes of a gateway worker: they do what would hold up its event loop."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from metering.tether import tethered


def helper_starter(
    config_path: Path, owner: int | None, given: int
) -> Callable[[list[str]], subprocess.Popen[bytes]]:
    """What starts a helper: `tallygate lanes` with these words.

    It outlives a worker that is killed, for it may be adopting; it ends with `owner`, the reading
    end of the supervisor's pipe. Without a supervisor it ends with the thread that started it.
    `given` is a handle of the configuration that the worker runs.
    """

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        said = ["lanes", *words, "-c", str(config_path.resolve()), "--given", str(given)]
        argv = [sys.executable, "-P", "-m", "tallygate", *said]
        return subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            tethered(argv) if owner is None else [*argv, "--owner", str(owner)],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=(given,) if owner is None else (owner, given),
            start_new_session=True,
        )

    return start
