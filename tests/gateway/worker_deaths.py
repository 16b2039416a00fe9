"""Kills a gateway worker at one line after the other, its end above all; adopters do the rest."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
from msgspec.structs import replace

from gateway import recorder, worker
from gateway.admission import Directory
from gateway.entitlement_file import EntitlementFile
from gateway.routing import RouteTable
from gateway.settings import Customer, GatewaySettings
from gateway.worker import Worker
from metering import applying, heartbeats, journal, sealing
from metering.adoption import Adopter
from metering.board import Open
from metering.connection import connect, connect_one
from metering.journal import Durability, Journal
from metering.lanes import LaneFolder, State, lanes_in
from tests.databases import new_ledger
from tests.fakes import FakeClock, usage_record
from tests.metering.control_plane import ControlPlane
from tests.metering.deaths import Stage, Told, deaths, dies, lines_of, report

WATCHED = lines_of(worker, recorder, applying, heartbeats, journal, sealing)
APPENDED, BEGUN = 0, 1
CALLS = 12
PATIENCE_S = 20.0


class Sleeping:
    """No helper: the adopter of this story comes later."""

    def poll(self) -> int:
        return 0

    def terminate(self) -> None: ...

    def wait(self) -> int:
        return 0


async def live(folder: Path, url: str, told: Told) -> None:
    """A worker that serves some calls, one of which never ends, and leaves."""
    durability = Durability(fsync="never", segment_bytes=11_500)
    lane = Journal(folder / "journal", "lane", 1, durability, FakeClock())
    life = Worker(
        table=RouteTable([], []),
        directory=Directory(b"pepper", [Customer(id="static", name="Static")]),
        settings=GatewaySettings(),
        redis=connect(url),
        lane=lane,
        journal_dir=lane.folder,
        partitions=1,
        clock=FakeClock(),
        start_helper=lambda words: Sleeping(),
        file=EntitlementFile(folder, "here"),
    )
    async with life.running():
        told[BEGUN] = 1
        life.recorder.begin(Open("r-open", "c", "chat", 5))
        told[BEGUN] = 2
        for number in range(1, CALLS + 1):
            slot = life.recorder.begin(Open(f"r-{number}", "c", "chat", 5))
            record = replace(usage_record("c" * 300, tokens_in=1), request_id=f"r-{number}")
            life.recorder.record(record, slot)
            told[APPENDED] = number
            if number % 4 == 0:
                await anyio.sleep(0.06)


async def judge(folder: Path, url: str, told: Told) -> None:
    """Whatever was recorded is in the ledger, whoever was open is named."""
    store = connect_one(url)
    plane = ControlPlane(new_ledger(folder / "ledger.db"), store, 1, FakeClock())
    found = lanes_in(folder / "journal")
    async with plane.running():
        adopter = Adopter(folder / "journal", store, 1, FakeClock())
        assert await adopter.run(patience_s=PATIENCE_S) == []
    await plane.turn()
    assert plane.tokens() in (told[APPENDED], told[APPENDED] + 1), (plane.tokens(), told[APPENDED])
    named = {name[2] for name in plane.named()}
    if told[BEGUN] == 2:
        assert "r-open" in named
    assert named - {"r-open"} <= {f"r-{plane.tokens() + 1}"}
    assert await heartbeats.read(store) == {}
    for lane in found:
        assert LaneFolder(lane.path).state() is State.RETIRED
    await store.aclose()


async def prepare(folder: Path, url: str) -> None:
    store = connect_one(url)
    await store.flushall()
    plane = ControlPlane(new_ledger(folder / "ledger.db"), store, 1, FakeClock())
    await plane.turn()
    plane.engine.dispose()
    await store.aclose()


def main(base: Path, url: str, first: int, step: int) -> None:
    told, stage, count = Told(), Stage(base), 0

    def alive(task: Callable[[], object]) -> None:
        assert not dies(task, frozenset(), 1, beside=False)

    def make() -> Callable[[], None]:
        folder = stage.clear()
        told[APPENDED] = told[BEGUN] = 0
        alive(lambda: anyio.run(partial(prepare, folder, url)))
        return lambda: anyio.run(partial(live, folder, url, told))

    for _ in deaths(make, WATCHED, first=first, step=step):
        count += 1
        folder = stage.folder
        alive(partial(anyio.run, partial(judge, folder, url, told)))
    report(deaths=count, records=told[APPENDED])


if __name__ == "__main__":
    _, where, redis_url, begin, every = sys.argv[1:]
    main(Path(where), redis_url, int(begin), int(every))
