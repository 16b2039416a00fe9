"""Child processes that do not outlive their parent, also when it is killed (Linux)."""

import os
import sys
from collections.abc import Sequence
from typing import Final

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
