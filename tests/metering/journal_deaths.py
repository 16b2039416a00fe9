"""Kills the owner of a lane, and whoever seals one, at every single line of theirs."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from msgspec.structs import replace

from metering import (
    board,
    journal,
    lane_making,
    quantities,
    records_on_disk,
    retention,
    sealing,
    segment_reading,
    segments,
    upkeep,
)
from metering.board import Open
from metering.journal import Durability, Journal
from metering.lanes import LOCK, LaneFolder, State, lanes_in
from metering.locks import try_lock
from metering.sealing import retire, seal
from metering.usage import UsageRecord
from tests.fakes import FakeClock, usage_record
from tests.metering.deaths import Stage, Told, deaths, dies, lines_of, report
from tests.metering.full_disk import until

OWNER = lines_of(board, journal, lane_making, segments, upkeep, quantities, records_on_disk)
THREAD = lines_of(journal, lane_making, segments, retention, upkeep)
SEALER = lines_of(sealing, segment_reading, segments)
MADE, BEGINS, BEGAN, SENT, APPENDED, FORGOTTEN, CLOSED = range(7)
CALLS = 9
LONG = "客" * 300  # three records fill a segment


def call(number: int) -> Open:
    return Open(f"r-{number}", f"{number}", "chat", 100 + number)


def record(number: int) -> UsageRecord:
    given = usage_record(f"{number}{LONG}", time_ms=100 + number, tokens_in=number)
    return replace(given, request_id=f"r-{number}")


def life(folder: Path, told: Told) -> None:
    """A process that serves some calls, one of which needs no record, and ends."""
    durability = Durability(fsync="interval", segment_bytes=11_500)
    lane = Journal(folder, "lane", 2, durability, FakeClock(200))
    told[MADE] = 1
    for number in range(1, CALLS + 1):
        told[BEGINS] = number
        slot = lane.begin(call(number))
        told[BEGAN] = number
        lane.append(record(number), slot)
        told[APPENDED] = number
        if number % 4 == 0:
            for partition in range(2):
                lane.tail.retire(partition, number - 1)
            lane.keep_up()
    told[BEGINS] = CALLS + 1
    slot = lane.begin(call(CALLS + 1))
    told[BEGAN] = CALLS + 1
    lane.forget(slot)
    told[FORGOTTEN] = 1
    lane.close()
    told[CLOSED] = 1


def judge(folder: Path, told: Told) -> str:
    """What the death left is what the crash order promises."""
    lanes = lanes_in(folder)
    if not lanes:
        assert told[MADE] == 0
        return "unmade"
    (lane,) = lanes
    assert told[MADE] or told[BEGINS] == 0
    assert lane.state() in (State.DEAD, State.SEALED)
    found = [entry.record for entry in lane.entries()]
    sealed = seal(lane, 999)
    assert sealed.end in (told[APPENDED], told[APPENDED] + 1), (sealed.end, told[APPENDED])
    assert found == [record(number) for number in range(1, sealed.end + 1)]
    assert [entry.record for entry in lane.entries()] == found
    assert sealed.records == sealed.end
    assert sealed.quantities.get("tokens_in", 0) == sum(range(sealed.end + 1))
    named = {request.request_id for request in sealed.open}
    must = {f"r-{n}" for n in range(1, told[BEGAN] + 1) if n > sealed.end}
    may = {f"r-{n}" for n in range(1, told[BEGINS] + 1) if n > sealed.end}
    if told[BEGAN] > CALLS:  # its slot may be cleared already
        must = set()
    if told[FORGOTTEN]:
        may = set()
    assert must <= named <= may, (must, named, may)
    assert lane.holdings() == (sealed.last, [])
    retire(lane)
    assert lane.state() is State.RETIRED
    assert [entry.record for entry in lane.entries()] == found
    return "sealed" if told[CLOSED] else f"{sealed.end}/{len(named)}"


def owner(base: Path, first: int, step: int, *, beside: bool) -> None:
    """Kill the owner at each of its lines, or of its thread's."""
    told, stage, seen, count = Told(), Stage(base), set(), 0

    def make() -> Callable[[], None]:
        folder = stage.clear()
        for place in range(7):
            told[place] = 0
        return lambda: life(folder, told)

    files = THREAD if beside else OWNER
    for _ in deaths(make, files, first=first, step=step, beside=beside):
        seen.add(judge(stage.folder, told))
        count += 1
    report(deaths=count, seen=sorted(seen))


def sealer(base: Path, first: int, step: int) -> None:
    """Kill who seals and retires a dead lane at each of its lines; the next one finishes it."""
    stage, template, count, seen = Stage(base), base / "dead", 0, set()
    assert not dies(lambda: life(template, Told()), OWNER, 1 << 30, beside=False)
    (template / "lane" / "sealed.json").unlink()
    whole = [entry.record for entry in LaneFolder(template / "lane").entries()]
    assert len(whole) == CALLS

    def make() -> Callable[[], None]:
        lane = stage.clear() / "lane"
        shutil.copytree(template / "lane", lane)
        return lambda: work(LaneFolder(lane))

    for _ in deaths(make, SEALER, first=first, step=step):
        count += 1
        left = LaneFolder(stage.folder / "lane")
        seen.add(str(left.state()))
        assert [entry.record for entry in left.entries()] == whole
        work(left)
        sealed = left.sealed()
        assert sealed is not None
        assert (sealed.end, sealed.records, sealed.open) == (CALLS, CALLS, [])
        assert [entry.record for entry in left.entries()] == whole
        assert left.state() is State.RETIRED
        assert left.holdings() == (sealed.last, [])
    report(deaths=count, seen=sorted(seen))


def work(lane: LaneFolder) -> None:
    handle = try_lock(lane.path / LOCK)
    assert handle is not None
    seal(lane, 5)
    retire(lane)


def hurry(base: Path, seed: int, rounds: int) -> None:
    """Kill an owner who writes as fast as he can, at any moment; read while he writes."""
    random, stage, counts = Random(seed), Stage(base), []
    for _ in range(rounds):
        told, folder = Told(), stage.clear()
        child = os.fork()
        if child == 0:
            run(folder, told)
        until(lambda told=told: told[APPENDED] > 0)  # type: ignore[misc]
        read_along(folder, told, random.randint(0, 3))
        time.sleep(random.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (lane,) = lanes_in(folder)
        sealed = seal(lane, 1)
        assert sealed.end in (told[APPENDED], told[APPENDED] + 1)
        assert [entry.number for entry in lane.entries()] == list(range(1, sealed.end + 1))
        assert sealed.quantities["tokens_in"] == sum(range(sealed.end + 1))
        assert len(sealed.open) <= 1
        counts.append(sealed.end)
    report(seed=seed, records=counts)


def run(folder: Path, told: Told) -> None:
    durability = Durability(fsync="interval", segment_bytes=1 << 15)
    lane = Journal(folder, "lane", 2, durability, FakeClock(200))
    number = 0
    while True:
        number += 1
        slot = lane.begin(call(number))
        lane.append(usage_record(f"{number % 9}", tokens_in=number), slot)
        told[APPENDED] = number


def read_along(folder: Path, told: Told, times: int) -> None:
    (lane,) = lanes_in(folder)
    for _ in range(times):
        written = told[APPENDED]
        numbers = [entry.number for entry in lane.entries()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= written


if __name__ == "__main__":
    scenario, where = sys.argv[1], Path(sys.argv[2])
    begin, every = int(sys.argv[3]), int(sys.argv[4])
    if scenario == "hurry":
        hurry(where, begin, every)
    elif scenario == "sealer":
        sealer(where, begin, every)
    else:
        owner(where, begin, every, beside=scenario == "thread")
