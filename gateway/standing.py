"""Where the partitions stand for a lane: what it must name when it says what it holds of a package."""

from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from metering.applying import Applier
from metering.tail import Tail


@dataclass(frozen=True, slots=True)
class StandingOf:
    """Of one lane. `flushing` is held by whoever makes the applier send something."""

    applier: Applier
    tail: Tail
    flushing: anyio.Lock

    @property
    def epochs(self) -> Mapping[int, str]:
        """The last that was heard of each partition, though it be over."""
        return self.applier.epochs

    def epoch(self, partition: int) -> str:
        """The partition's, empty where it is not known."""
        return self.applier.epoch(partition)

    def checkpoint(self, partition: int) -> int:
        """Up to which of the lane's records the ledger holds the partition's."""
        return self.tail.checkpoints.get(partition, 0)

    async def learn(self, partition: int) -> None:
        """Ask for both."""
        async with self.flushing:
            await self.applier.learn(partition)
