"""Decides in which order partitions are visited when some of them cannot be reached. Pure.

Those that answered last time come first, each time from another one on, so that a node of Redis
that is away starves nobody; those that failed come last, the one that waits longest first. A run
gives up after a few failures, each of which may have cost a whole time-out.
"""

from dataclasses import dataclass, field
from typing import Final

MOST_FAILURES: Final = 3


@dataclass
class Visits:
    """The order of the next run, from how the last ones went."""

    _next: int = 0
    _failed: dict[int, None] = field(default_factory=dict)  # the longest waiting first
    _failures: int = 0

    def begin(self, partitions: int) -> list[int]:
        """The partitions of a new run."""
        self._failures = 0
        start = self._next % max(partitions, 1)
        around = [*range(start, partitions), *range(start)]
        late = [partition for partition in self._failed if partition < partitions]
        return [partition for partition in around if partition not in self._failed] + late

    def went_well(self, partition: int) -> None:
        """The partition answered."""
        self._failed.pop(partition, None)

    def failed(self, partition: int, *, cheap: bool) -> bool:
        """The partition did not; whether the run shall go on. A `cheap` failure cost no time-out."""
        self._failed.pop(partition, None)
        self._failed[partition] = None
        self._failures += not cheap
        if self._failures < MOST_FAILURES:
            return True
        self._next = partition + 1
        return False
