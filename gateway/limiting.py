"""All that limits calls in one worker, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from gateway.desk import Desk
from gateway.lending import Bank, Lending, Places
from gateway.limit_settings import Limits
from gateway.limits import Braking
from metering.clock import Clock


@dataclass(frozen=True, slots=True)
class Limiting:
    """Who finds a caller's limits (`braking`), who lets calls in, and who asks the bank."""

    settings: Limits
    braking: Braking
    desk: Desk
    lending: Lending

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The bank is asked for as long as the block lasts."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.lending.run)
            try:
                yield
            finally:
                group.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Lane:
    """Who borrows: this worker's lane, and where the partitions stand for it."""

    lane_id: str
    partitions: int
    places: Places


def limiting(
    settings: Limits,
    bank: Bank,
    lane: Lane,
    clock: Clock,
    loop_time: Callable[[], float],
    *,
    go_on_alone: bool,
) -> Limiting:
    """`go_on_alone`: without the bank, rates and slots count in this worker alone."""
    desk = Desk(clock.now_ms, loop_time, go_on_alone=go_on_alone)
    lending = Lending(bank, desk, lane.lane_id, lane.places, loop_time)
    return Limiting(settings, Braking(lane.partitions), desk, lending)
