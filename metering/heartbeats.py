"""How far each lane has flushed: every lane says so once a second, also when idle."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metering.connection import Store, text_of, translated

KEY: Final = "tallygate:lanes"


class Heartbeat(NamedTuple):
    """All records before `flushed_through` are applied; said at `at`. Both UTC ms."""

    flushed_through: int
    at: int


async def beat(store: Store, lane: str, heartbeat: Heartbeat) -> None:
    """Say how far the lane has flushed."""
    with translated():
        await store.hset(KEY, lane, f"{heartbeat.flushed_through} {heartbeat.at}")


async def farewell(store: Store, lane: str) -> None:
    """The lane has flushed everything and will write no more."""
    with translated():
        await store.hdel(KEY, lane)


async def read(store: Store) -> Mapping[str, Heartbeat]:
    """Every lane that has not said farewell. What is no heartbeat is passed over."""
    with translated():
        raw = await store.hgetall(KEY)
    said = {text_of(lane): _heartbeat(text) for lane, text in raw.items()}
    return {lane: heartbeat for lane, heartbeat in said.items() if heartbeat is not None}


def _heartbeat(text: bytes | str) -> Heartbeat | None:
    try:
        flushed_through, at = map(int, text.split())
    except ValueError:
        return None
    return Heartbeat(flushed_through, at)
