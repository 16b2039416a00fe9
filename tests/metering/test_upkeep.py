"""The thread that syncs: what it promises about the order of writes, syncs and answers."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from random import Random

import pytest

from metering.upkeep import Fsync, Upkeep

PATIENCE_S = 20.0


class Disk:
    """What was written, and how much of it was there when the last finished sync began."""

    def __init__(self) -> None:
        self.written = 0
        self.durable = 0
        self.synced: list[int] = []
        self.fails = False
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.syncing = threading.Event()

    def sync(self, handle: int) -> None:
        there = self.written
        self.syncing.set()
        assert self.may_sync.wait(PATIENCE_S)
        if self.fails:
            raise OSError(errno.EIO, "the disk is broken")
        self.synced.append(handle)
        self.durable = there


Start = Callable[[Fsync], Upkeep]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def start(disk: Disk) -> Iterator[Start]:
    """Starts the thread over the disk; it is ended afterwards."""
    started: list[Upkeep] = []

    def new(fsync: Fsync) -> Upkeep:
        upkeep = Upkeep(fsync, every_s=0.001, sync=disk.sync)
        upkeep.watch(7)
        upkeep.start()
        started.append(upkeep)
        return upkeep

    yield new
    disk.may_sync.set()
    for upkeep in started:
        upkeep.stop()


def waited(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S)


def test_what_was_written_is_synced_within_the_interval(start: Start, disk: Disk) -> None:
    """Though nobody asks for it."""
    upkeep = start("interval")
    disk.written = 1
    upkeep.wrote()
    waited(disk.syncing)
    upkeep.stop()
    assert disk.durable == 1


def test_an_idle_journal_is_not_synced(start: Start, disk: Disk) -> None:
    """Disks may sleep."""
    upkeep = start("interval")
    upkeep.stop()
    assert disk.synced == []


@pytest.mark.parametrize("fsync", ["interval", "never"])
def test_nobody_waits_unless_always(start: Start, fsync: Fsync) -> None:
    """The caller goes on by himself."""
    done = threading.Event()
    assert not start(fsync).when_durable(done.set)
    assert not done.is_set()


def test_never_is_never(start: Start, disk: Disk) -> None:
    """Not even at the end."""
    upkeep = start("never")
    upkeep.wrote()
    upkeep.sync_last(7)
    upkeep.stop()
    assert disk.synced == []


def test_who_writes_during_a_sync_waits_for_the_next(start: Start, disk: Disk) -> None:
    """That sync may have passed his page already."""
    upkeep = start("always")
    disk.may_sync.clear()
    found: list[int] = []
    first, second = threading.Event(), threading.Event()

    def answer(event: threading.Event) -> None:
        found.append(disk.durable)
        event.set()

    disk.written = 1
    upkeep.wrote()
    upkeep.when_durable(lambda: answer(first))
    waited(disk.syncing)
    disk.written = 2  # the sync has begun
    upkeep.wrote()
    upkeep.when_durable(lambda: answer(second))
    disk.may_sync.set()
    waited(first)
    waited(second)
    assert found == [1, 2]


def test_many_writers_share_a_sync(start: Start, disk: Disk) -> None:
    """Nobody is answered before what he wrote is durable, and there are fewer syncs than writers."""
    upkeep = start("always")
    random, early, left = Random(1), [], threading.Semaphore(0)
    for number in range(1, 501):
        disk.written = number
        upkeep.wrote()

        def answer(mine: int = number) -> None:
            if disk.durable < mine:
                early.append(mine)
            left.release()

        assert upkeep.when_durable(answer)
        if random.random() < 0.1:
            assert left.acquire(timeout=PATIENCE_S)
            left.release()
    for _ in range(500):
        assert left.acquire(timeout=PATIENCE_S)
    assert early == []
    assert upkeep.syncs < 400


def test_what_nobody_waits_for_is_synced_too(start: Start, disk: Disk) -> None:
    """With `always` a client that left waits for nothing, and is counted all the same."""
    upkeep = start("always")
    disk.written = 1
    upkeep.wrote()
    waited(disk.syncing)
    upkeep.stop()
    assert disk.durable == 1


def test_a_failed_sync_is_remembered_for_ever(
    start: Start, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel may have dropped the pages: a later success says nothing. It is logged once."""
    upkeep = start("always")
    disk.fails = True
    for _ in range(3):
        done = threading.Event()
        upkeep.wrote()
        upkeep.when_durable(done.set)
        waited(done)
    assert upkeep.failed
    disk.fails = False
    done = threading.Event()
    upkeep.wrote()
    upkeep.when_durable(done.set)
    waited(done)
    assert upkeep.failed
    assert [r.levelno for r in caplog.records] == [logging.ERROR]


def test_a_file_is_synced_once_more_and_then_left_alone(start: Start, disk: Disk) -> None:
    """A full segment is closed after that."""
    upkeep = start("always")
    upkeep.watch(8)
    ended, done = threading.Event(), threading.Event()

    def end() -> None:
        upkeep.sync_last(8)
        ended.set()

    upkeep.submit(end)
    waited(ended)
    upkeep.wrote()
    upkeep.when_durable(done.set)
    waited(done)
    assert disk.synced[0] == 8
    assert 8 not in disk.synced[1:]


def test_a_job_that_fails_stops_nothing(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next one is done."""
    upkeep = start("interval")
    done = threading.Event()

    def fails() -> None:
        raise RuntimeError("no")

    upkeep.submit(fails)
    upkeep.submit(done.set)
    waited(done)
    assert "the journal's upkeep failed" in caplog.text


def test_stopping_finishes_what_was_asked_for(start: Start, disk: Disk) -> None:
    """Jobs, a last sync, and whoever waits for it. It may be stopped twice."""
    upkeep = start("always")
    disk.may_sync.clear()
    upkeep.wrote()
    upkeep.when_durable(lambda: None)
    waited(disk.syncing)
    found: list[str] = []
    disk.written = 5
    upkeep.wrote()
    upkeep.submit(lambda: found.append("job"))
    upkeep.when_durable(lambda: found.append(f"durable {disk.durable}"))
    disk.may_sync.set()
    upkeep.stop()
    upkeep.stop()
    assert found == ["job", "durable 5"]
