"""Kills adopters at one line after the other; the next one brings every lane to its end."""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering import (
    adoption,
    applying,
    counters,
    findings,
    heartbeats,
    naming,
    replaying,
    sealing,
    segment_reading,
)
from metering.adoption import Adopter
from metering.applying import Applier
from metering.board import Open
from metering.connection import connect_one
from metering.counters import Counters
from metering.heartbeats import Heartbeat
from metering.journal import Durability, Journal
from metering.lanes import LaneFolder, State
from tests.databases import new_ledger
from tests.fakes import FakeClock, usage_record
from tests.metering.control_plane import ControlPlane, save, set_back
from tests.metering.deaths import Stage, deaths, dies, lines_of, report

WATCHED = lines_of(
    adoption,
    applying,
    counters,
    findings,
    heartbeats,
    naming,
    replaying,
    sealing,
    segment_reading,
)
PARTITIONS = 2
RECORDS = 60
PATIENCE_S = 20.0


class Site:
    """One data directory with a ledger, a Redis, and the lane of a dead process."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.journal = folder / "journal"
        self.backup = folder / "backup"

    def engine(self) -> Engine:
        return new_ledger(self.folder / "ledger.db")

    def plane(self, store: Redis) -> ControlPlane:
        return ControlPlane(self.engine(), store, PARTITIONS, FakeClock())

    async def prepare(self, *, again: bool) -> None:
        """A part is in the ledger, a part in Redis, a part in the files alone; one call is open.

        `again`: all of it was in the ledger, which was then set back to the beginning.
        """
        store = connect_one(self.url)
        await store.flushall()
        plane = self.plane(store)
        await plane.turn()
        save(plane.engine, self.backup)
        await self._live(store, plane)
        if again:
            async with plane.running():
                assert await self._adopt(store) == []
            set_back(plane.engine, self.backup)
            await plane.turn()
        plane.engine.dispose()
        await store.aclose()

    async def _live(self, store: Redis, plane: ControlPlane) -> None:
        durability = Durability(fsync="never", segment_bytes=11_500)
        life = Journal(self.folder / "life", "lane", PARTITIONS, durability, FakeClock())
        applier = Applier("lane", life.tail, Counters(store), PARTITIONS)
        life.begin(Open("r-open", "c", "chat", 5))
        for number in range(RECORDS):
            life.append(usage_record(f"{'c' * 300}{number % 5}", tokens_in=1))
            if number == RECORDS // 3:
                assert await applier.flush()
                await plane.turn()
            if number == 2 * RECORDS // 3:
                assert await applier.flush()
        await heartbeats.beat(store, "lane", Heartbeat(1, 1))
        shutil.copytree(self.folder / "life", self.journal)
        life.close()

    async def _adopt(self, store: Redis, *, again: bool = False) -> list[str]:
        adopter = Adopter(self.journal, store, PARTITIONS, FakeClock())
        return await adopter.run(patience_s=PATIENCE_S, again=again)

    async def adopt(self, *, again: bool) -> None:
        """Until nothing is left to do."""
        store = connect_one(self.url)
        plane = self.plane(store)
        async with plane.running():
            assert await self._adopt(store, again=again) == []
        plane.engine.dispose()
        await store.aclose()

    async def judge(self, *, again: bool) -> None:
        """The next adopter finds all that is left, and nothing is counted twice."""
        await self.adopt(again=again)
        store = connect_one(self.url)
        plane = self.plane(store)
        await plane.turn()
        assert plane.tokens() == RECORDS, plane.tokens()
        assert plane.named() == {("uncertain", "lane", "r-open", -1, 0, 0)}
        assert LaneFolder(self.journal / "lane").state() is State.RETIRED
        assert await heartbeats.read(store) == {}
        left = await store.hvals(findings.KEY)
        assert not any(left), left
        await store.aclose()


def run(task: Callable[..., Any], *, again: bool) -> Callable[[], None]:
    return lambda: anyio.run(partial(task, again=again))


def alive(life: Callable[[], None]) -> None:
    """In a process of its own: this one never runs a loop, so that it may fork."""
    assert not dies(life, frozenset(), 1, beside=False)


def main(base: Path, url: str, first: int, step: int, *, again: bool) -> None:
    stage, count = Stage(base), 0

    def make() -> Callable[[], None]:
        site = Site(stage.clear(), url)
        alive(run(site.prepare, again=again))
        return run(site.adopt, again=again)

    for _ in deaths(make, WATCHED, first=first, step=step):
        count += 1
        alive(run(Site(stage.folder, url).judge, again=again))
    report(deaths=count)


if __name__ == "__main__":
    scenario, where, redis_url, begin, every = sys.argv[1:]
    main(Path(where), redis_url, int(begin), int(every), again=scenario == "again")
