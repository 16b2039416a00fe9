"""A gateway of the month: the real lane, recorder, directory and adopter; only sockets are missing.

A gateway is killed by going on with a copy of its disk, made in the middle of its work: whatever the
old process does to the old files afterwards is never seen again.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.admission import Directory, admit_key, admit_trusted
from gateway.admitted import Admitted
from gateway.credentials import TrustedIdentity
from gateway.errors import GatewayError
from gateway.recorder import Recorder
from gateway.routing import ServedRoute
from metering import entitlements, heartbeats
from metering.adoption import Adopter
from metering.board import Open
from metering.clock import Clock
from metering.counters import Counters
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.journal import Durability, Journal
from metering.lanes import LaneFolder, ownerless
from metering.replaying import replay_living
from metering.usage import Outcome, Quantity, UsageRecord
from tallygate.month.calls import Call
from tallygate.month.faulty import FaultyRedis
from tallygate.month.tally import Tally

_DURABILITY: Final = Durability(fsync="never", retention_bytes=4 << 20, segment_bytes=1 << 18)
_ASKED: Final = 2  # partitions that are asked where they stand in each round


class Given(NamedTuple):
    """What every gateway is told: partitions, routes by name, and what keys are digested with."""

    partitions: int
    routes: Mapping[str, ServedRoute]
    pepper: bytes


class Gateway:
    """One gateway worker of a host of its own. `redis` is its way to Redis."""

    def __init__(
        self,
        disks: Iterator[Path],
        redis: FaultyRedis,
        clock: Clock,
        given: Given,
        tally: Tally,
    ) -> None:
        """`disks` are folders that are not there yet; `tally` is the upstream's."""
        self.redis = redis
        self.refused = 0
        self.adopted = 0
        self._disks, self._disk = disks, next(disks)
        self._clock = clock
        self._partitions = given.partitions
        self._routes = given.routes
        self._directory = Directory(given.pepper)
        self._tally = tally
        self.up = self._dead = False
        self._lives = 0
        self._requests = 0
        self._unheard = True  # something may have changed that nobody could tell us
        self._settled: set[str] = set()
        self.start()

    def start(self) -> None:
        """A new process: a new lane."""
        self._lives += 1
        lane_id = f"{self._disk.name}-{self._lives}"
        self._lane = Journal(self._disk, lane_id, self._partitions, _DURABILITY, self._clock)
        self._recorder = Recorder(self._lane, Counters(self.redis), self._clock, self._partitions)
        self.up, self._dead = True, False

    # Customers...

    def call(
        self, call: Call, key: bytes | None, *, dies: bool = False, skip: bool = False
    ) -> None:
        """Decide, forward, count. With `dies` the record is never written, as the process will not
        live so long; `skip` forgets it, as a gateway that loses records would."""
        route = self._routes[call.route]
        try:
            admitted = self._admitted(call, route, key)
        except GatewayError:
            self.refused += 1
            return
        self._requests += 1
        request = f"{self._lane.lane_id}-{self._requests}"
        now_ms = self._clock.now_ms()
        slot = self._recorder.begin(Open(request, call.customer, route.name, now_ms))
        unseen = request if dies else ""
        self._tally.serve(call.customer, admitted.charges, call.quantities, now_ms, unseen)
        if skip:
            self._recorder.forget(slot)
        elif not dies:
            self._recorder.record(_record(request, call, admitted, now_ms), slot)

    def _admitted(self, call: Call, route: ServedRoute, key: bytes | None) -> Admitted:
        now_ms = self._clock.now_ms()
        if call.vouched:
            who = TrustedIdentity(call.customer, "", None)
            return admit_trusted(self._directory, route, who, now_ms)
        return admit_key(self._directory, route, key, now_ms)

    async def hear(self, customer: str) -> None:
        """The control plane says that something changed for the customer."""
        try:
            snapshot = await entitlements.get(self.redis, customer)
        except MeteringError:
            self._unheard = True
            return
        if snapshot is not None:
            self._directory.put(snapshot)

    # Loops...

    async def turn(self, *, check: bool = False) -> None:
        """What its loops and its helper do; `check` looks at every customer."""
        if self.up:
            await self._flush(check=check)
        if not self._dead:
            await self._adopt()

    async def _flush(self, *, check: bool) -> None:
        through = await self._recorder.flush(self._clock.now_ms() / 1000, probe=True)
        self._lane.keep_up()
        with suppress(MeteringError):
            if through is not None:
                said = Heartbeat(through, self._clock.now_ms())
                await heartbeats.beat(self.redis, self._lane.lane_id, said)
                await self._recorder.applier.ask_next(_ASKED)
            if self._recorder.applier.behind:
                lane = LaneFolder(self._disk / self._lane.lane_id)
                await replay_living(lane, self.redis, self._partitions, self._clock.now_ms())
            if check or self._unheard:
                await self._check()

    async def _check(self) -> None:
        everyone = await entitlements.get_all(self.redis)
        for snapshot in everyone.snapshots:
            self._directory.put(snapshot)
        self._unheard = False

    async def _adopt(self) -> None:
        if ownerless(self._disk, self._settled):
            adopter = Adopter(self._disk, self.redis, self._partitions, self._clock, pause_s=0)
            await adopter.run(patience_s=-1)
            self.adopted += adopter.adopted

    def lanes_left(self) -> int:
        """How many lanes wait for somebody to see them to their end."""
        return len(ownerless(self._disk, self._settled))

    # Ends...

    def die(self) -> None:
        """kill -9: another disk holds what this one holds now, and nothing comes after it."""
        self.up, self._dead = False, True
        old, self._disk = self._disk, next(self._disks)
        with suppress(shutil.Error):  # a draft that got its name meanwhile
            shutil.copytree(old, self._disk)
        self._lane.close()
        shutil.rmtree(old)

    async def leave(self) -> bool:
        """SIGTERM: flush, say farewell, seal. False while Redis does not take it all."""
        if not self.up:
            return True
        if await self._recorder.flush(self._clock.now_ms() / 1000) is None:
            return False
        try:
            await heartbeats.farewell(self.redis, self._lane.lane_id)
        except MeteringError:
            return False
        self._lane.close()
        self.up = False
        return True

    async def close(self) -> None:
        """Let go of everything."""
        self._lane.close()
        await self.redis.aclose()


def _record(request: str, call: Call, admitted: Admitted, now_ms: int) -> UsageRecord:
    return UsageRecord(
        request_id=request,
        time_ms=now_ms,
        account=admitted.account,
        status=200,
        outcome=Outcome.COMPLETE,
        quantities={meter: Quantity(value) for meter, value in call.quantities.items()},
    )
