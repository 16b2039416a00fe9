"""A gateway as the control plane meets it: what it applies to Redis, and its heartbeats."""

from typing import Any

from metering import heartbeats
from metering.connection import Store
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.heartbeats import Heartbeat
from metering.protocol import Batch
from metering.usage import Grade
from metering.windows import Window, window_of
from tests.billing_sync.books import METER, START


def delta(**key: Any) -> DeltaKey:
    """What a use is counted as, unless the test says otherwise."""
    given = {"customer_id": "cust-1", "instance_id": "", "route": "chat", "meter": METER}
    window = Window(key.pop("window", window_of(START)))
    return DeltaKey(window, grade=Grade.EXACT, **(given | key))


class Lane:
    """A gateway's lane, playing by the rules: it goes on where Redis says."""

    def __init__(self, redis: Store, name: str = "lane") -> None:
        self.redis = redis
        self.counters = Counters(redis)
        self.name = name
        self.places: dict[int, tuple[str, int]] = {}

    async def count(self, partition: int, quantity: int, **key: Any) -> None:
        """One more record, applied."""
        used = {delta(**key): quantity}
        status = ""
        while status != "ok":
            epoch, position = self.places.get(partition, ("", 0))
            batch = Batch(partition, epoch, self.name, position, position + 1, used)
            status, epoch, position, _ = await self.counters.apply(batch)
            self.places[partition] = (epoch, position)

    async def beat(self, flushed_through: int, at: int | None = None) -> None:
        """Say how far it has flushed."""
        said = Heartbeat(flushed_through, flushed_through if at is None else at)
        await heartbeats.beat(self.redis, self.name, said)


class KeepingLane(Lane):
    """A lane with its journal: it keeps every record, and brings again whatever Redis lacks."""

    def __init__(self, redis: Store, name: str = "lane") -> None:
        super().__init__(redis, name)
        self.kept: dict[int, list[tuple[DeltaKey, int]]] = {}

    def record(self, partition: int, quantity: int, **key: Any) -> None:
        """One more record in the journal."""
        self.kept.setdefault(partition, []).append((delta(**key), quantity))

    async def flush(self) -> bool:
        """Bring everything to Redis, also what the ledger held already; whether all of it is there."""
        done = True
        for partition, kept in self.kept.items():
            for _ in range(4):
                epoch, position = self.places.get(partition, ("", 0))
                used: dict[DeltaKey, int] = {}
                for key, quantity in kept[position:]:
                    used[key] = used.get(key, 0) + quantity
                end = max(position, len(kept))
                batch = Batch(partition, epoch, self.name, position, end, used)
                status, epoch, position, _ = await self.counters.apply(batch)
                self.places[partition] = (epoch, position)
                if status == "ok":
                    break
            else:
                done = False
        return done
