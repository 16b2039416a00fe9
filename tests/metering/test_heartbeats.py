import pytest
from redis.asyncio import Redis

from metering import heartbeats
from metering.heartbeats import Heartbeat

pytestmark = pytest.mark.anyio


async def test_the_last_beat_of_each_lane_is_read(redis: Redis) -> None:
    """A lane that said farewell is not waited for any more."""
    await heartbeats.beat(redis, "lane-1", Heartbeat(1000, 1001))
    await heartbeats.beat(redis, "lane-1", Heartbeat(2000, 2001))
    await heartbeats.beat(redis, "lane-2", Heartbeat(3000, 3001))
    assert await heartbeats.read(redis) == {
        "lane-1": Heartbeat(2000, 2001),
        "lane-2": Heartbeat(3000, 3001),
    }
    await heartbeats.farewell(redis, "lane-1")
    await heartbeats.farewell(redis, "lane-1")
    assert list(await heartbeats.read(redis)) == ["lane-2"]


@pytest.mark.parametrize("value", ["", "7", "1 2 3", "a b", b"\xff \xff", "1.5 2"])
async def test_what_is_no_heartbeat_is_passed_over(redis: Redis, value: str | bytes) -> None:
    """Whatever somebody wrote there stops nobody."""
    await redis.hset(heartbeats.KEY, mapping={b"\xff": value, "lane-1": "1 2"})
    assert await heartbeats.read(redis) == {"lane-1": Heartbeat(1, 2)}
