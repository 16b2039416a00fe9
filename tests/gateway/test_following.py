"""What a worker knows of its customers when Redis is there, away, and back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio import Redis

from gateway.entitlement_file import EntitlementFile
from gateway.entitlement_metrics import EntitlementMetrics
from gateway.following import Following
from gateway.freshness import Freshness
from metering import entitlements
from metering.connection import connect
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringError
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

NOBODY = "redis://127.0.0.1:1"
ONE, TWO = EntitlementSnapshot("cust-1", "One"), EntitlementSnapshot("cust-2", "Two")


@dataclass
class Stand:
    """A follower and everything it tells; its time moves when told to."""

    folder: Path
    denies: bool = True
    now_s: float = 1000.0
    told: list[str] = field(default_factory=list)
    shut: list[bool] = field(default_factory=list)
    changes: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.file = EntitlementFile(self.folder, "here")

    def follows(self, url: str) -> Following:
        return Following(
            connect(url, timeout_s=0.5),
            self.file,
            self.clock,
            lambda: self.now_s,
            Freshness(30.0, self.now_s),
            self.denies,
            lambda snapshot: self.told.append(snapshot.name),
            self._changed,
            self.shut.append,
            check_s=5.0,
        )

    def _changed(self) -> None:
        self.changes += 1

    def later(self, seconds: int) -> None:
        self.now_s += seconds
        self.clock.advance(seconds=seconds)

    def age_s(self) -> float:
        """Of the file."""
        return (self.clock.now_ms() - self.file.read().heard_ms) / 1000


@pytest.fixture
async def stand(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.file.close()


async def test_the_file_follows_redis(stand: Stand, redis: Redis, valkey_url: str) -> None:
    """Written when something changed, and dated by the last word that nothing did."""
    following = stand.follows(valkey_url)
    await following.keep()
    assert not stand.file.path.exists()
    await entitlements.put(redis, [ONE])
    await following.check()
    stand.later(3)
    await following.keep()
    assert stand.file.read().snapshots == [ONE]
    assert stand.age_s() == 3.0
    inode = stand.file.path.stat().st_ino
    stand.later(60)
    await following.keep()
    assert stand.age_s() == 63.0  # nothing was heard meanwhile
    await following.check()
    await following.keep()
    assert stand.age_s() == 0.0
    assert stand.file.path.stat().st_ino == inode
    following.heard(TWO)
    await following.leave()
    assert stand.file.read().snapshots == [ONE, TWO]
    await following.redis.aclose()


async def test_a_worker_starts_from_the_file_while_redis_is_away(stand: Stand) -> None:
    """With everything in it but what it was told by a message; the file is left as it is."""
    stand.file.write([ONE, TWO], stand.clock.now_ms() - 10_000)
    following = stand.follows(NOBODY)
    following.heard(EntitlementSnapshot("cust-2", "Newer"))
    await following.start_from_disk()
    assert stand.told == ["Newer", "One"]
    assert (following.freshness.loaded, following.freshness.from_disk) == (True, True)
    assert following.freshness.age_s(stand.now_s) == 10.0
    await following.keep()
    assert stand.file.read().snapshots == [ONE, TWO]
    assert stand.shut == []
    stand.later(21)
    following.look()
    assert stand.shut == [True]


async def test_an_old_file_is_stale_at_once(stand: Stand, redis: Redis, valkey_url: str) -> None:
    """Who may only go by what is fresh waits for Redis, and goes on by itself."""
    stand.file.write([ONE], stand.clock.now_ms() - 3_600_000)
    following = stand.follows(valkey_url)
    await following.start_from_disk()
    assert stand.shut == [True]
    await following.check()
    assert stand.shut == [True, False]
    assert not following.freshness.from_disk
    await following.redis.aclose()


async def test_redis_wins_over_the_file(stand: Stand, redis: Redis, valkey_url: str) -> None:
    """What was frozen meanwhile is frozen."""
    stand.file.write([ONE], stand.clock.now_ms())
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "Frozen")])
    following = stand.follows(valkey_url)
    await following.start_from_disk()
    await following.check()
    assert stand.told == ["One", "Frozen"]
    await following.redis.aclose()


async def test_an_unusable_file_is_passed_over_and_said(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason not to start; a missing one is no news."""
    following = stand.follows(NOBODY)
    await following.start_from_disk()
    assert caplog.messages == []
    stand.file.path.write_text("{")
    await following.start_from_disk()
    assert caplog.messages == [f"{stand.file.path} is passed over: it is torn, or none of ours"]
    assert (stand.told, following.freshness.loaded, following.file_failures) == ([], False, 1)


async def test_silence_is_said_once_and_so_is_its_end(
    stand: Stand, redis: Redis, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the policy, the log and the metrics show it."""
    stand.denies = False
    following = stand.follows(valkey_url)
    await following.check()
    stand.later(31)
    following.look()
    following.look()
    registry = CollectorRegistry()
    registry.register(EntitlementMetrics(following))
    shown = generate_latest(registry).decode()
    assert "gateway_entitlements_age_seconds 31.0" in shown
    assert "gateway_entitlements_stale 1.0" in shown
    await following.check()
    assert [message.split("; ")[-1] for message in caplog.messages] == [
        "calls go on by it",
        "what is known of the customers is up to date again",
    ]
    assert stand.shut == []
    await following.redis.aclose()


async def test_a_change_while_the_file_is_written_is_written_too(
    stand: Stand, redis: Redis, valkey_url: str
) -> None:
    """A write takes its time."""
    following = stand.follows(valkey_url)
    await following.check()

    class Slow(EntitlementFile):
        def write(self, *given: object) -> bool:
            following.heard(ONE)
            return super().write(*given)  # type: ignore[arg-type]

    following.file = Slow(stand.folder, "here")
    await following.keep()
    assert stand.file.read().snapshots == []
    await following.keep()
    assert stand.file.read().snapshots == [ONE]
    await following.leave()
    await following.redis.aclose()


async def test_a_file_that_cannot_be_written_is_said_once(
    stand: Stand, redis: Redis, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And is written as soon as it can be."""
    following = stand.follows(valkey_url)
    await following.check()
    (blocked := stand.folder / ".entitlements.json.draft").mkdir()
    await following.keep()
    await following.keep()
    assert len(caplog.messages) == 1
    assert "cannot be written" in caplog.messages[0]
    assert following.file_failures == 2
    blocked.rmdir()
    await following.keep()
    assert stand.file.read().snapshots == []
    await following.redis.aclose()


async def test_redis_away_is_no_news_of_anybody(stand: Stand) -> None:
    """The check fails, and nothing is taken for heard."""
    following = stand.follows(NOBODY)
    with pytest.raises(MeteringError):
        await following.check()
    assert not following.freshness.loaded


async def test_a_check_reads_what_differs_and_nothing_twice(
    stand: Stand, redis: Redis, valkey_url: str
) -> None:
    """Also what was set back, and what a message had changed meanwhile."""
    await entitlements.put(redis, [ONE, TWO])
    await redis.delete(entitlements.MARK)  # a control plane of a version before
    following = stand.follows(valkey_url)
    await following.check()
    await following.check()
    assert sorted(stand.told) == ["One", "Two"]
    following.heard(EntitlementSnapshot("cust-1", "Newer"))
    await following.check()  # where Redis still says the older
    assert stand.told[2:] == ["Newer", "One"]
    await redis.hset(entitlements.KEY, "cust-2", "{garbage")
    await following.check()
    await following.check()
    assert (following.unreadable, following.taken()["cust-2"]) == (1, TWO)
    await entitlements.put(redis, [EntitlementSnapshot("cust-2", "Back")])
    await following.check()
    assert (following.unreadable, stand.told[4:]) == (0, ["Back"])
    await following.redis.aclose()
