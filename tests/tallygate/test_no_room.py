"""A worker that starts on a full disk."""

import anyio
import pytest

from metering.errors import JournalFull
from tallygate.no_room import once_there_is_room
from tallygate.stopping import Stop

pytestmark = pytest.mark.anyio


class Disk:
    """Has no room for the first `full` tries."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.refusing = 0

    def make(self) -> str:
        self.full -= 1
        if self.full >= 0:
            raise JournalFull("the disk is full; free some space")
        return "a lane"

    async def refuse(self, enough: Stop) -> None:
        self.refusing += 1
        await enough.told.wait()


async def test_where_there_is_room_nothing_is_refused() -> None:
    """The lane is made at once."""
    disk = Disk(full=0)
    assert await once_there_is_room(disk.make, disk.refuse, Stop()) == "a lane"
    assert disk.refusing == 0


async def test_calls_are_refused_until_there_is_room() -> None:
    """It is tried again and again, and then refused no more."""
    disk = Disk(full=2)
    with anyio.fail_after(30):
        assert await once_there_is_room(disk.make, disk.refuse, Stop()) == "a lane"
    assert disk.refusing == 1


async def test_who_is_told_to_stop_waits_no_longer() -> None:
    """There is no lane then."""
    disk, stop = Disk(full=1_000_000), Stop()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
        stop()
        with anyio.fail_after(30):
            assert await once_there_is_room(disk.make, disk.refuse, stop) is None
