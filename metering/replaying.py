"""Replays a lane from its files: what Redis lacks of it, however much that is.

It runs beside the owner of a living lane too, in a process of its own: positions decide which call
counts, so it does not matter who is quicker. What the retention took away is named before anything
behind it is replayed: afterwards nobody could tell any more. The order for a living lane, and what
a kill before the next step leaves:

1. what is gone and lacking is named     named again under the same identity
2. the ledger has the names              as 1
3. the rest is replayed                  again from where Redis stands
4. the names are let go of               they stay in Redis, where they harm nobody
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio import to_thread

from metering import findings, naming
from metering.applying import Applier
from metering.connection import Store
from metering.counters import Counters
from metering.errors import MeteringUnavailable
from metering.lanes import Gap, Holdings, LaneFolder
from metering.protocol import Batch
from metering.tail import Tail

_CHUNK: Final = 10_000
_TRIES: Final = 20
_PAUSE_S: Final = 0.1


@dataclass(frozen=True)
class Standing:
    """Where Redis and the ledger stand with a lane, by partition."""

    positions: Mapping[int, int]
    checkpoints: Mapping[int, int] = field(default_factory=dict)


async def standing(counters: Counters, lane_id: str, partitions: int) -> Standing:
    """Ask every partition. Raises MeteringUnavailable while one is away or not set up yet."""
    positions, checkpoints = {}, {}
    for partition in range(partitions):
        reply = await counters.apply(Batch(partition, "", lane_id, 0, 0, {}))
        if not reply.epoch:
            raise MeteringUnavailable("the control plane has not set the counters up yet")
        positions[partition] = reply.position
        checkpoints[partition] = reply.checkpoint
    return Standing(positions, checkpoints)


async def replay_living(lane: LaneFolder, store: Store, partitions: int, now_ms: int) -> bool:
    """Replay a lane whose owner lives and fell behind what it remembers; whether nothing is left.

    Raises MeteringError when Redis is away, OSError and msgspec.MsgspecError for a damaged lane.
    """
    counters = Counters(store)
    held = await to_thread.run_sync(lane.holdings)
    stood = await standing(counters, lane.lane_id, partitions)
    names = list(naming.lost(naming.of(lane, now_ms), held.gone, stood.positions))
    if not await naming.named(store, names) or not await replay(lane, counters, partitions, held):
        return False
    await findings.drop(store, [name.identity for name in names])
    return True


async def replay(
    lane: LaneFolder,
    counters: Counters,
    partitions: int,
    held: Holdings,
    *,
    chunk: int = _CHUNK,
    pause_s: float = _PAUSE_S,
) -> bool:
    """Bring to Redis what it lacks of the lane; whether it lacks nothing now.

    `held` is what is known to be on this disk; what is gone has been named. `chunk` records are in
    memory at once; `pause_s` is waited after what Redis did not take. Raises MeteringError when Redis is away.
    """
    stood = (await standing(counters, lane.lane_id, partitions)).positions
    lacking = [stood[partition] for partition, last in held.last.items() if last > stood[partition]]
    if not lacking:
        return True
    tail = Tail(limit=2 * chunk, floors=stood)
    applier = Applier(lane.lane_id, tail, counters, partitions)
    count, expected = 0, min(lacking) + 1
    for entry in lane.entries(after=min(lacking)):
        if not _known(held.gone, expected, entry.number - 1):
            await _deliver(applier, pause_s)
            return False  # more was taken away just now: it must be named first
        expected = entry.number + 1
        if entry.number > stood[entry.partition]:
            tail.put(entry.number, entry.partition, entry.record)
            count += 1
        if count == chunk:
            await _deliver(applier, pause_s)
            if applier.behind:
                return False
            tail.let_go_through(entry.number)
            count = 0
    await _deliver(applier, pause_s)
    return not applier.behind and expected > max(held.last.values())


def _known(gone: list[Gap], first: int, last: int) -> bool:
    """Whether every number from `first` to `last` is known to be gone; true for none."""
    return first > last or any(gap.first <= first and last <= gap.last for gap in gone)


async def _deliver(applier: Applier, pause_s: float) -> None:
    """Until Redis has it all, or stands where it was set back to: then the replay begins anew.

    Raises MeteringUnavailable when it takes nothing any more.
    """
    for _ in range(_TRIES):
        if await applier.flush() or applier.behind:
            return
        await anyio.sleep(pause_s)
    raise MeteringUnavailable("Redis does not take the records of a lane")
