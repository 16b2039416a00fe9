"""A forwarder whose other end changes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import anyio
import pytest

from tallygate.drills.faults.forwarder import HERE, Forwarder

pytestmark = pytest.mark.anyio


@contextmanager
def saying(word: bytes) -> Iterator[int]:
    """The port of a server that answers each piece with a word, until its client leaves."""
    listener = socket.create_server((HERE, 0))

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with link:
                while link.recv(100):
                    link.sendall(word)

    thread = Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


async def test_connections_go_where_it_points() -> None:
    """Those that are open break when it is switched; new ones reach the other server."""
    with saying(b"one") as one, saying(b"two") as two:
        async with anyio.create_task_group() as group:
            forwarder = Forwarder(one)
            port = await group.start(forwarder.serve)
            async with await anyio.connect_tcp(HERE, port) as link:
                await link.send(b"?")
                assert await link.receive() == b"one"
                forwarder.switch(two)
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await link.receive()
            async with await anyio.connect_tcp(HERE, port) as link:
                await link.send(b"?")
                assert await link.receive() == b"two"
            group.cancel_scope.cancel()


async def test_nobody_behind_it_is_a_connection_that_ends() -> None:
    """It goes on listening."""
    async with anyio.create_task_group() as group:
        forwarder = Forwarder(1)
        port = await group.start(forwarder.serve)
        for _ in range(2):
            async with await anyio.connect_tcp(HERE, port) as link:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await link.receive()
        group.cancel_scope.cancel()
