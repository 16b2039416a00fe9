"""Gives a file its blocks before anything is written to it: a write to a hole of a full disk is SIGBUS."""

import os
from typing import Final

_CHUNK: Final = bytes(1 << 20)


def allocate(handle: int, size: int) -> None:
    """Make the file so long, with all its blocks. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:  # macOS: written out, the blocks exist just as well
        write_out(handle, size)


def read_through(handle: int, size: int) -> None:
    """Bring the file into memory: else whoever first writes to its mapping waits for that, for milliseconds."""
    for start in range(0, size, len(_CHUNK)):
        os.pread(handle, len(_CHUNK), start)


def write_out(handle: int, size: int) -> None:
    """The same by writing zeros over it. Raises OSError."""
    for start in range(0, size, len(_CHUNK)):
        os.pwrite(handle, _CHUNK[: size - start], start)
