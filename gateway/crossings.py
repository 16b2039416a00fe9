"""What all line-rate exchanges of a worker share, and the sweep that ends what takes too long.

A time-out is a number on the exchange or connection, looked at four times a second: no timer is
set and cancelled for each request.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from gateway.access_log import OFF, AccessLog
from gateway.desk import Desk
from gateway.disconnect import Drains
from gateway.errors import GatewayError
from gateway.known_heads import KnownHeads
from gateway.passage import Passage
from gateway.pools import Pools
from gateway.recording import Recorder
from gateway.telemetry import Telemetry
from gateway.tracing import Tracing
from gateway.wire import Dates
from gateway.write_queue import WriteQueue
from metering.clock import Clock

log = logging.getLogger("tallygate.gateway")

SWEEP_S: Final = 0.25


class Swept(Protocol):
    """An exchange or a client's connection with a time-out."""

    deadline_s: float  # on the clock of the sweeps

    def timed_out(self) -> None: ...


class Ending(Swept, Protocol):
    """An exchange."""

    @property
    def passage(self) -> Passage: ...

    def cut_off(self) -> None: ...

    def stop(self, refusal: GatewayError) -> None: ...


@dataclass(slots=True)
class Crossings:
    """One for a worker. `now_s` is the time at the last sweep, by `loop_time`."""

    heads: KnownHeads
    pools: Pools
    recorder: Recorder
    clock: Clock
    telemetry: Telemetry
    drains: Drains
    new_id: Callable[[], str]
    loop_time: Callable[[], float]
    writes: WriteQueue = field(default_factory=WriteQueue)
    dates: Dates = field(default_factory=Dates)
    desk: Desk | None = None  # for calls with limits
    access: AccessLog = OFF
    tracing: Tracing | None = None
    now_s: float = 0.0
    exchanges: set[Ending] = field(default_factory=set)
    clients: set[Swept] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweeps go on for as long as the block does; at its end every exchange ends, recorded."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep_forever)
            try:
                yield
            finally:
                self.cut_off()
                group.cancel_scope.cancel()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                self.sweep(self.loop_time())
            except Exception:
                log.exception("ending what takes too long failed")
            await anyio.sleep(SWEEP_S)

    def sweep(self, now_s: float) -> None:
        """End what took too long until now."""
        self.now_s = now_s
        late: list[Swept] = [each for each in self.exchanges if each.deadline_s < now_s]
        late += [each for each in self.clients if each.deadline_s < now_s]
        for each in late:
            each.timed_out()

    def cut_off(self) -> None:
        """End every exchange now, each with its record."""
        for each in list(self.exchanges):
            each.cut_off()
