"""Takes over the lanes of dead processes on this disk, until the ledger holds all of them.

1. the lane's lock is taken           nobody else adopts it; a kill lets go of it
2. it is sealed                       found again by sealed.json
3. what the retention took away and Redis lacks is named, and the ledger has the names
                                      named again under the same identity, which changes nothing
4. what Redis lacks is replayed       again from where Redis stands
5. its open requests are named, and what the ledger holds beyond its end    as 3
6. its heartbeat ends, so windows no longer wait for it
7. once the ledger holds everything and has the names, its segments become audit trail
8. the names are let go of            they stay in Redis, where they harm nobody
9. the lock is let go
Killed anywhere, the next adopter begins at 1 and every step finds what is left to do.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from metering import findings, heartbeats, naming
from metering.clock import Clock
from metering.connection import Store
from metering.counters import Counters
from metering.errors import MeteringError
from metering.findings import Finding
from metering.heartbeats import Heartbeat
from metering.lane_making import with_room
from metering.lanes import LOCK, LaneFolder, Sealed, State, lanes_in, unreadable_in
from metering.locks import try_lock
from metering.replaying import replay, standing
from metering.sealing import retire, seal
from metering.segments import LIVE, segment_files

log = logging.getLogger("tallygate.journal")

PAUSE_S: Final = 0.2


@dataclass
class Adopter:
    """Adopts the lanes in one folder. `adopted` counts those that it saw to their end.

    `unreadable` are lanes that a person must look at.
    """

    journal: Path
    redis: Store = field(repr=False)
    partitions: int
    clock: Clock
    pause_s: float = PAUSE_S
    adopted: int = 0
    unreadable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._counters = Counters(self.redis)
        self._farewells: set[str] = set()
        self._failed: set[str] = set()  # lanes that something is wrong with: nobody waits for them
        self._said: dict[str, set[str]] = {}  # of each lane, the identities of its findings

    async def run(self, *, patience_s: float, again: bool = False) -> list[str]:
        """Adopt every lane without an owner; the lanes that still wait for Redis or the ledger.

        It ends when there is none left, or none gets any further for so long. `again` also looks at
        retired lanes: a ledger that was set back to a backup lacks them.
        """
        deadline = anyio.current_time() + patience_s
        held: dict[str, tuple[LaneFolder, int]] = {}
        seen: set[str] = set()
        try:
            while True:
                if self._take(held, seen, again=again):
                    deadline = anyio.current_time() + patience_s
                for lane_id, (lane, handle) in list(held.items()):
                    if await self._settled(lane):
                        os.close(handle)
                        del held[lane_id]
                        deadline = anyio.current_time() + patience_s
                if not held.keys() - self._failed or anyio.current_time() > deadline:
                    return sorted(held)
                await anyio.sleep(self.pause_s)
        finally:
            for _, handle in held.values():
                os.close(handle)

    def _take(
        self, held: dict[str, tuple[LaneFolder, int]], seen: set[str], *, again: bool
    ) -> bool:
        """Take the locks of lanes without an owner; whether there were any."""
        before = len(held)
        wanted = (State.DEAD, State.SEALED, *([State.RETIRED] if again else []))
        for lane in lanes_in(self.journal):
            if lane.lane_id in seen:
                continue
            state = lane.state()
            handle = _lock_of(lane) if state in wanted else None
            if handle is not None:
                held[lane.lane_id] = (lane, handle)
            if handle is not None or state is State.RETIRED:
                seen.add(lane.lane_id)
        for lane in unreadable_in(self.journal):
            self._pass_over(lane)
        return len(held) > before

    async def _settled(self, lane: LaneFolder) -> bool:
        """Steps 2 to 8; whether nothing is left to do. A store that is away is waited for."""
        lane_id = lane.lane_id
        try:
            done = await self._advance(lane)
        except MeteringError as reason:
            log.debug("lane %s waits: %s", lane_id, reason)
            done = False
        except Exception as reason:
            if lane_id not in self._failed:
                log.exception("lane %s cannot be adopted: %s", lane_id, type(reason).__name__)
            self._failed.add(lane_id)
            return False
        self._failed.discard(lane_id)
        return done

    def _pass_over(self, lane: LaneFolder) -> None:
        if lane.lane_id not in self.unreadable:
            log.error("lane %s cannot be read; look at %s", lane.lane_id, lane.path)
        self.unreadable.add(lane.lane_id)

    async def _advance(self, lane: LaneFolder) -> bool:
        sealed = await to_thread.run_sync(self._seal, lane)
        held = await to_thread.run_sync(lane.holdings)
        stood = await standing(self._counters, lane.lane_id, self.partitions)
        of_lane = naming.of(lane, sealed.at)
        lost = list(naming.lost(of_lane, held.gone, stood.positions))
        if not await self._named(lane, lost):
            await self._keep_waiting_for(lane)
            return False
        if not _reached(stood.positions, held.last):
            await self._keep_waiting_for(lane)
            await replay(lane, self._counters, self.partitions, held, pause_s=self.pause_s)
            stood = await standing(self._counters, lane.lane_id, self.partitions)
        names = [
            *naming.uncertain(of_lane, sealed),
            *naming.unexplained(of_lane, sealed, stood.checkpoints),
        ]
        known = await self._named(lane, names)
        if not _reached(stood.positions, held.last):
            return False
        await self._farewell(lane)
        in_ledger = _reached(stood.checkpoints, held.last)
        # What Redis alone knows beyond the lane's end may be lost still: it is named afterwards.
        beyond = {p: n for p, n in stood.positions.items() if n > sealed.end}
        if not known or not in_ledger or not _reached(stood.checkpoints, beyond):
            return False
        if segment_files(lane.path, LIVE):
            self.adopted += 1
        await to_thread.run_sync(retire, lane)
        await findings.drop(self.redis, self._said.pop(lane.lane_id, ()))
        return True

    def _seal(self, lane: LaneFolder) -> Sealed:
        return with_room(self.journal, lambda: seal(lane, self.clock.now_ms()))

    async def _named(self, lane: LaneFolder, names: list[Finding]) -> bool:
        """Whether the ledger has them all; those that it has not are said again."""
        self._said.setdefault(lane.lane_id, set()).update(name.identity for name in names)
        return await naming.named(self.redis, names)

    async def _keep_waiting_for(self, lane: LaneFolder) -> None:
        """Windows do not close meanwhile."""
        self._farewells.discard(lane.lane_id)
        beat = Heartbeat(0, self.clock.now_ms())
        await heartbeats.beat(self.redis, lane.lane_id, beat)

    async def _farewell(self, lane: LaneFolder) -> None:
        if lane.lane_id not in self._farewells:
            await heartbeats.farewell(self.redis, lane.lane_id)
            self._farewells.add(lane.lane_id)


def _lock_of(lane: LaneFolder) -> int | None:
    try:
        return try_lock(lane.path / LOCK)
    except OSError:  # the retention removed it just now
        return None


def _reached(numbers: Mapping[int, int], last: Mapping[int, int]) -> bool:
    """Whether every partition stands at or behind its last record."""
    return all(numbers.get(partition, 0) >= number for partition, number in last.items())
