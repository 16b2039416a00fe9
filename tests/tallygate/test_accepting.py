"""Two acceptors on one socket, in one event loop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from tallygate.accepting import Acceptor
from tallygate.addresses import Address
from tallygate.listeners import address_of, bind
from tallygate.sharing import Share, new_board

pytestmark = pytest.mark.anyio


class Open(asyncio.Protocol):
    """A connection, in the set of those that are open."""

    def __init__(self, kept: set[asyncio.Protocol]) -> None:
        self._kept = kept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._kept.add(self)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._kept.discard(self)


class Worker:
    """An acceptor and its connections."""

    def __init__(self, listening: socket.socket, board: int, index: int) -> None:
        self.open: set[asyncio.Protocol] = set()
        self.share = Share(board, index)
        self.acceptor = Acceptor(listening, self.share, self.open, lambda: Open(self.open), None)


@asynccontextmanager
async def workers() -> AsyncIterator[tuple[int, list[Worker]]]:
    """The port, and two workers who accept there."""
    board = new_board(2)
    with bind(Address("127.0.0.1", 0)) as listening, anyio.fail_after(20):
        both = [Worker(listening, board, index) for index in range(2)]
        yield address_of(listening).port, both
        for each in both:
            each.acceptor.close()
            await each.acceptor.wait_closed()
            for connection in list(each.open):
                connection.transport.abort()  # type: ignore[attr-defined]
    await anyio.lowlevel.checkpoint()
    os.close(board)


async def connected(port: int, number: int, both: list[Worker]) -> list[socket.socket]:
    """So many clients, once all are accepted."""
    before = sum(len(each.open) for each in both)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    while sum(len(each.open) for each in both) < before + number:  # noqa: ASYNC110
        await anyio.sleep(0.001)
    return clients


def hang_up(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()


async def test_each_gets_as_many() -> None:
    """Also when all come at once."""
    async with workers() as (port, both):
        clients = await connected(port, 60, both)
        assert abs(len(both[0].open) - len(both[1].open)) <= 4
        hang_up(clients)


async def test_who_accepts_nothing_keeps_nobody_out() -> None:
    """It is dead, or stopped."""
    async with workers() as (port, both):
        both[0].acceptor.close()
        clients = await connected(port, 60, both)
        assert len(both[1].open) == 60
        hang_up(clients)


async def test_who_starts_again_catches_up() -> None:
    """What comes is his until he has as many."""
    async with workers() as (port, both):
        both[0].acceptor.close()
        clients = await connected(port, 30, both)
        one, other = both
        one.acceptor = Acceptor(
            other.acceptor._listening, one.share, one.open, lambda: Open(one.open), None
        )
        clients += await connected(port, 20, both)
        assert len(one.open) >= 18
        hang_up(clients)


async def test_closed_connections_are_told_without_a_new_one() -> None:
    """Or a worker would be spared for what it no longer has."""
    async with workers() as (port, both):
        clients = await connected(port, 20, both)
        hang_up(clients)
        while both[0].share._numbers[0] or both[0].share._numbers[1]:  # noqa: ASYNC110
            await anyio.sleep(0.005)
