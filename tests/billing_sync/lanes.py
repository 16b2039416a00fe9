"""A gateway as the control plane meets it: what it applies to Redis, and its heartbeats."""

from typing import Any

from redis.asyncio import Redis

from metering import heartbeats
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.heartbeats import Heartbeat
from metering.protocol import Batch
from metering.usage import Grade
from metering.windows import Window, window_of
from tests.billing_sync.books import METER, START


class Lane:
    """A gateway's lane, playing by the rules: it goes on where Redis says."""

    def __init__(self, redis: Redis, name: str = "lane") -> None:
        self.redis = redis
        self.counters = Counters(redis)
        self.name = name
        self.places: dict[int, tuple[str, int]] = {}

    async def count(self, partition: int, quantity: int, **key: Any) -> None:
        """One more record, applied."""
        given = {"customer_id": "cust-1", "instance_id": "", "route": "chat", "meter": METER}
        window = Window(key.pop("window", window_of(START)))
        delta = DeltaKey(window, grade=Grade.EXACT, **(given | key))
        status = ""
        while status != "ok":
            epoch, position = self.places.get(partition, ("", 0))
            batch = Batch(partition, epoch, self.name, position, position + 1, {delta: quantity})
            status, epoch, position, _ = await self.counters.apply(batch)
            self.places[partition] = (epoch, position)

    async def beat(self, flushed_through: int, at: int | None = None) -> None:
        """Say how far it has flushed."""
        said = Heartbeat(flushed_through, flushed_through if at is None else at)
        await heartbeats.beat(self.redis, self.name, said)
