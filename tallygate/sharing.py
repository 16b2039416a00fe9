"""How many connections each gateway worker of a host has, in memory that all of them see.

Each writes its own number and reads those of the others; eight aligned bytes are written at once.
"""

import mmap
import os
from typing import Final

_SLOT: Final = 8
_SLACK: Final = 2  # connections; as much again as a 32nd of one's own


def new_board(workers: int) -> int:
    """A file descriptor of memory for so many workers, which lives as long as it is held."""
    handle = os.memfd_create("tallygate-connections")
    os.truncate(handle, workers * _SLOT)
    return handle


class Share:
    """What one worker knows of all of them. `handle` is one of `new_board`."""

    def __init__(self, handle: int, index: int) -> None:
        self._numbers = memoryview(mmap.mmap(handle, 0)).cast("q")
        self._index = index
        self._others = [n for n in range(len(self._numbers)) if n != index]
        self.have(0)

    def have(self, connections: int) -> None:
        """So many are this worker's."""
        self._numbers[self._index] = connections

    def ahead(self) -> bool:
        """Whether it has clearly more than another, who should take the next."""
        mine, numbers = self._numbers[self._index], self._numbers
        bound = mine - _SLACK - (mine >> 5)
        return any(numbers[other] < bound for other in self._others)
