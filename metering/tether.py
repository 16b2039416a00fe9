"""Child processes that do not outlive their parent, also when it is killed (Linux)."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1

# The kernel signals the child when the thread that started it dies, and exec keeps that setting.
# The parent is asked for afterwards, in case it died in between. Elsewhere than on Linux there is
# no such call, and the child is an ordinary one.
_SHIM: Final = """
import os, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def tethered(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` (a full path first) with SIGTERM at its parent's death.

    Start it from the main thread, for it is that thread whose end counts.
    """
    # Isolated: neither the environment nor a file in the working directory changes the shim.
    return [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *argv]


def woken_at_parents_death() -> None:
    """From now on this process is continued, should it be stopped (SIGSTOP), when its parent dies.

    Only then can it hear of that death and end. Linux; elsewhere it does nothing.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415  (not every Python has it)

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
