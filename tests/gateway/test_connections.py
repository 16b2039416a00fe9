"""One upstream connection over real sockets, on both event loops."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.connections import FULL_BYTES, Connection
from gateway.pool import Pool
from tests.gateway.callers import Hearing, Listening, connect, listening, pool_of, reset, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops that serve."""
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
async def server() -> AsyncIterator[Listening]:
    """An upstream whose side the test plays."""
    with listening() as found:
        yield found


@pytest.fixture
async def pool(server: Listening) -> AsyncIterator[Pool]:
    """The pool of that upstream."""
    async with pool_of(server.url) as found:
        yield found


async def test_bytes_go_both_ways(pool: Pool, server: Listening) -> None:
    """What is written arrives, what comes is heard."""
    connection, caller = await connect(pool)
    peer = server.accept()
    connection.write(b"ping")
    assert peer.recv(10) == b"ping"
    peer.sendall(b"pong")
    await caller.hears("received")
    assert (caller.data, caller.heard) == (b"pong", ["connected", "received"])
    assert not connection.reused


async def test_a_released_connection_is_used_again(pool: Pool, server: Listening) -> None:
    """The same one, known to be used; what comes is the next caller's."""
    first, before = await connect(pool)
    peer = server.accept()
    first.release()
    after = Hearing()
    second = pool.take(after)
    assert second is first
    assert second.reused
    peer.sendall(b"x")
    await after.hears("received")
    assert before.heard == ["connected"]
    assert pool.outstanding == 1


@pytest.mark.parametrize("end", [socket.socket.close, lambda peer: peer.shutdown(socket.SHUT_WR)])
async def test_an_end_is_heard_once(
    pool: Pool, server: Listening, end: Callable[[socket.socket], None]
) -> None:
    """Closed or half-closed: a clean end, after all bytes; the connection is gone."""
    connection, caller = await connect(pool)
    peer = server.accept()
    peer.sendall(b"tail")
    end(peer)
    await caller.hears("lost")
    await anyio.sleep(0.01)
    assert caller.heard == ["connected", "received", "lost"]
    assert (caller.data, caller.error) == (b"tail", None)
    assert (pool.open, pool.outstanding) == (0, 0)
    assert connection.caller is None


async def test_a_reset_is_an_error(pool: Pool, server: Listening) -> None:
    """The caller can tell it from a clean end."""
    _, caller = await connect(pool)
    reset(server.accept())
    await caller.hears("lost")
    assert isinstance(caller.error, ConnectionResetError)
    assert (pool.open, pool.outstanding) == (0, 0)


async def test_after_close_nothing_is_heard(pool: Pool, server: Listening) -> None:
    """And nothing that is done to the connection matters."""
    connection, caller = await connect(pool)
    peer = server.accept()
    peer.sendall(b"much")
    connection.close()
    use_in_vain(connection)
    await anyio.sleep(0.02)
    with pytest.raises(ConnectionResetError):
        peer.recv(10)
    assert caller.heard == ["connected"]
    assert (pool.open, pool.outstanding, pool.idle) == (0, 0, 0)


def use_in_vain(connection: Connection) -> None:
    """Everything a late caller could still do."""
    connection.write(b"late")
    connection.pause_reading()
    connection.resume_reading()
    connection.release()
    connection.close()


async def test_a_connection_that_was_lost_can_be_touched(pool: Pool, server: Listening) -> None:
    """uvloop would raise for each of these."""
    connection, caller = await connect(pool)
    reset(server.accept())
    await caller.hears("lost")
    use_in_vain(connection)
    assert (pool.open, pool.outstanding, pool.idle) == (0, 0, 0)


@pytest.mark.parametrize("event", ["data", "half", "reset"])
async def test_between_exchanges_nobody_may_speak(
    pool: Pool, server: Listening, event: str
) -> None:
    """Bytes, an end or a reset: the idle connection is never handed out again."""
    connection, caller = await connect(pool)
    peer = server.accept()
    connection.release()
    if event == "data":
        peer.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    elif event == "half":
        peer.shutdown(socket.SHUT_WR)
    else:
        reset(peer)
    await until(lambda: not pool.open)
    assert pool.take(Hearing()) is None
    assert caller.heard == ["connected"]


async def test_reading_pauses_and_goes_on(pool: Pool, server: Listening) -> None:
    """Twice is once, and a release ends the pause."""
    connection, caller = await connect(pool)
    peer = server.accept()
    connection.pause_reading()
    connection.pause_reading()
    peer.sendall(b"x")
    await anyio.sleep(0.02)
    assert caller.heard == ["connected"]
    connection.resume_reading()
    connection.resume_reading()
    await caller.hears("received")
    connection.pause_reading()
    connection.release()
    peer.close()
    await until(lambda: not pool.open)


async def test_a_slow_upstream_pauses_its_caller(pool: Pool, server: Listening) -> None:
    """Past 64 KiB the caller hears it, and again when there is room."""
    connection, caller = await connect(pool)
    peer = server.accept()
    written = 0
    while "full" not in caller.heard:
        connection.write(bytes(FULL_BYTES // 4))
        written += FULL_BYTES // 4
        await anyio.lowlevel.checkpoint()
    while written:
        written -= len(peer.recv(1 << 16))
        await anyio.lowlevel.checkpoint()
    await caller.hears("ready")
    assert caller.heard == ["connected", "full", "ready"]


async def test_a_full_connection_is_not_used_again(pool: Pool, server: Listening) -> None:
    """The next request would stand behind what the upstream does not take."""
    connection, caller = await connect(pool)
    server.accept()
    while "full" not in caller.heard:
        connection.write(bytes(FULL_BYTES))
        await anyio.lowlevel.checkpoint()
    connection.release()
    assert (pool.open, pool.idle, pool.outstanding) == (0, 0, 0)


class Broken(Hearing):
    """An exchange with a bug in one place."""

    def __init__(self, place: str) -> None:
        super().__init__()
        setattr(self, place, self._raise)

    def _raise(self, *_: object) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("place", ["connected", "received", "upstream_full"])
async def test_what_a_caller_raises_costs_its_connection_only(
    pool: Pool, server: Listening, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, the connection closed, and the caller told, so that it can end."""
    caller = Broken(place)
    assert pool.take(caller) is None
    peer = await anyio.to_thread.run_sync(server.accept)
    if place != "connected":
        await caller.hears("connected")
        assert caller.connection is not None
        peer.sendall(b"x")
        if place == "upstream_full":
            await caller.hears("received")
            caller.connection.write(bytes(32 << 20))
    await caller.hears("lost")
    assert isinstance(caller.error, ZeroDivisionError)
    assert caller.heard.count("lost") == 1
    assert (pool.open, pool.outstanding) == (0, 0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    connection, _ = await connect(pool)
    assert connection.usable


async def test_a_caller_may_fail_at_its_end(
    pool: Pool, server: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop goes on."""
    caller = Broken("lost")
    await connect(pool, caller)
    server.accept().close()
    await until(lambda: not pool.open)
    assert "ZeroDivisionError" in caplog.text
    assert caller.heard == ["connected"]


async def test_a_caller_may_release_and_then_raise(
    pool: Pool, server: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is no longer his to lose."""

    class Releasing(Hearing):
        def received(self, data: bytes) -> None:
            assert self.connection is not None
            self.connection.release()
            raise ZeroDivisionError

    caller = Releasing()
    await connect(pool, caller)
    server.accept().sendall(b"x")
    await until(lambda: pool.idle)
    assert caller.heard == ["connected"]
    assert "ZeroDivisionError" in caplog.text


async def test_nagle_is_off(pool: Pool) -> None:
    """A small request must not wait for the acknowledgement of another."""
    connection, _ = await connect(pool)
    transport: asyncio.Transport = connection._transport
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
