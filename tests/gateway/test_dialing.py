"""How connections come about, over real sockets and on both event loops."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.dialing import Race, tls_context
from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.resolving import Address
from tests.gateway.callers import (
    Hearing,
    backlog_full,
    connect,
    listening,
    pool_of,
    server_context,
    until,
)
from tests.gateway.certificates import Authority

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops that serve."""
    return ("asyncio", {"use_uvloop": request.param})


def refusing() -> tuple[str, int]:
    """An address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        return host, port


async def test_nobody_there_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """At once; the log says why, and says it once."""
    host, port = refusing()
    async with pool_of(f"http://{host}:{port}") as pool:
        for _ in range(2):
            caller = Hearing()
            assert pool.take(caller) is None
            await caller.hears("not_connected")
            assert type(caller.refusal) is UpstreamUnavailable
        assert pool.outstanding == 0
    (record,) = caplog.records
    assert "cannot be reached" in record.getMessage()


@pytest.mark.parametrize("unix", [False, True])
async def test_a_full_backlog_is_a_timeout(tmp_path: Path, unix: bool) -> None:
    """Nobody says no, so it takes as long as it may."""
    with backlog_full(tmp_path / "s" if unix else None) as (url, _):
        async with pool_of(url, timeouts={"connect": 0.2}) as pool:
            caller = Hearing()
            assert pool.take(caller) is None
            await caller.hears("not_connected")
            assert isinstance(caller.refusal, UpstreamTimeout)
            await until(lambda: not pool.connecting)


async def test_a_unix_socket_that_was_busy_is_waited_for(tmp_path: Path) -> None:
    """Its backlog was full only for a moment."""
    with backlog_full(tmp_path / "s") as (url, bound):
        async with pool_of(url) as pool:
            caller = Hearing()
            assert pool.take(caller) is None
            await anyio.sleep(0.05)
            assert not caller.heard
            with bound.accept()[0]:
                await caller.hears("connected")


async def test_a_unix_socket_is_an_upstream(tmp_path: Path) -> None:
    """Written http+unix:// and its path."""
    with listening(tmp_path / "up.sock") as server:
        async with pool_of(server.url) as pool:
            assert pool.upstream.host == b"localhost"
            connection, caller = await connect(pool)
            peer = server.accept()
            connection.write(b"ping")
            assert peer.recv(9) == b"ping"
            peer.close()
            await caller.hears("lost")


async def test_no_socket_at_the_path_is_unavailable(tmp_path: Path) -> None:
    """Not there, or too long to be one."""
    for name in ("none", "x" * 200):
        async with pool_of(f"http+unix://{tmp_path}/{name}") as pool:
            caller = Hearing()
            pool.take(caller)
            await caller.hears("not_connected")
            assert type(caller.refusal) is UpstreamUnavailable


async def test_the_next_address_is_tried() -> None:
    """When the first refuses, it is remembered for a while."""
    with listening() as server:
        good = Address(socket.AF_INET, ("127.0.0.1", int(server.url.rpartition(":")[2])))
        bad = Address(socket.AF_INET, refusing())

        async def resolve(host: str, port: int) -> list[Address]:
            return [bad, good]

        async with pool_of("http://up.test:80", resolve=resolve) as pool:
            for _ in range(4):
                connection, _ = await connect(pool)
                assert connection.address == good


async def test_a_silent_address_holds_nobody_up() -> None:
    """The next is tried beside it, long before the time to connect is over."""
    with backlog_full() as (url, _), listening() as server:
        silent = Address(socket.AF_INET, ("127.0.0.1", int(url.rpartition(":")[2])))
        good = Address(socket.AF_INET, ("127.0.0.1", int(server.url.rpartition(":")[2])))
        race = Race([silent, good])
        sock, winner = await race.run()
        sock.close()
        assert winner == good
        assert race.tried == [silent, good]


async def test_a_race_that_is_called_off_leaves_no_socket() -> None:
    """Warnings of unclosed sockets are errors here."""
    with backlog_full() as (url, _):
        silent = Address(socket.AF_INET, ("127.0.0.1", int(url.rpartition(":")[2])))
        with anyio.move_on_after(0.3) as scope:
            await Race([silent, silent]).run()
        assert scope.cancelled_caught


async def test_an_unexpected_failure_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """And logged with its trace."""

    async def resolve(host: str, port: int) -> list[Address]:
        raise ZeroDivisionError

    async with pool_of("http://up.test", resolve=resolve) as pool:
        caller = Hearing()
        pool.take(caller)
        await caller.hears("not_connected")
        assert type(caller.refusal) is UpstreamUnavailable
    assert "ZeroDivisionError" in caplog.text


# TLS


class Speaker(asyncio.Protocol):
    """A TLS server's side, in the hands of the test."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.data = b""
        self.server_name: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # asyncio's TLS transport is one

    def data_received(self, data: bytes) -> None:
        self.data += data


@asynccontextmanager
async def tls_server(cert: Path) -> AsyncIterator[tuple[int, Speaker]]:
    """The port of a TLS server for one connection, and its side of it."""
    speaker = Speaker()
    context = server_context(cert)

    def named(_: Any, name: str, __: ssl.SSLContext) -> None:
        speaker.server_name = name

    context.sni_callback = named
    context.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: speaker, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], speaker
    finally:
        server.close()
        if speaker.transport is not None:
            speaker.transport.abort()
        await anyio.sleep(0.01)


async def here(host: str, port: int) -> list[Address]:
    """Every name is this machine's."""
    return [Address(socket.AF_INET, ("127.0.0.1", port))]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that tests may trust."""
    return Authority(tmp_path_factory.mktemp("certificates"))


async def test_tls_is_verified_and_used(authority: Authority) -> None:
    """The URL's host is asked for, and the protocol is HTTP/1.1."""
    async with tls_server(authority.certificate("up.test")) as (port, speaker):
        route = {"pool": {"ca_file": str(authority.file)}}
        async with pool_of(f"https://UP.test:{port}/v1", resolve=here, **route) as pool:
            connection, caller = await connect(pool)
            connection.write(b"ping")
            await until(lambda: speaker.data == b"ping")
            assert speaker.server_name == "up.test"
            assert speaker.transport is not None
            spoken = speaker.transport.get_extra_info("ssl_object").selected_alpn_protocol()
            assert spoken == "http/1.1"
            speaker.transport.write(b"pong")
            await caller.hears("received")
            speaker.transport.close()
            await caller.hears("lost")
            assert caller.error is None


@pytest.mark.parametrize("trusting", ["this", "another", "nobody in particular"])
async def test_a_certificate_that_proves_nothing_is_refused(
    authority: Authority, tmp_path: Path, trusting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another host's, or an unknown authority's; the log says so."""
    caplog.set_level(logging.WARNING, "tallygate.gateway")
    name = "other.test" if trusting == "this" else "up.test"
    file = {
        "this": str(authority.file),
        "another": str(Authority(tmp_path, "another").file),
    }.get(trusting)
    async with tls_server(authority.certificate(name)) as (port, speaker):
        route = {"pool": {"ca_file": file}}
        async with pool_of(f"https://up.test:{port}", resolve=here, **route) as pool:
            caller = Hearing()
            pool.take(caller)
            await caller.hears("not_connected")
            assert type(caller.refusal) is UpstreamUnavailable
            assert pool.open == 0
    assert speaker.data == b""
    assert "certificate verify failed" in caplog.text


async def test_a_cut_inside_tls_is_no_end(authority: Authority) -> None:
    """A body that lasts until the end could have been cut by anyone otherwise."""
    async with tls_server(authority.certificate("up.test")) as (port, speaker):
        route = {"pool": {"ca_file": str(authority.file)}}
        async with pool_of(f"https://up.test:{port}", resolve=here, **route) as pool:
            _, caller = await connect(pool)
            await until(lambda: speaker.transport)
            assert speaker.transport is not None
            sock = speaker.transport.get_extra_info("socket")
            with socket.fromfd(sock.fileno(), sock.family, sock.type) as cut:
                cut.shutdown(socket.SHUT_RDWR)
            await caller.hears("lost")
            assert caller.error is not None


async def test_a_handshake_nobody_answers_is_a_timeout(authority: Authority) -> None:
    """It counts as connecting."""
    with listening() as server:
        url = server.url.replace("http", "https")
        async with pool_of(url, timeouts={"connect": 0.2}) as pool:
            caller = Hearing()
            pool.take(caller)
            await caller.hears("not_connected")
            assert isinstance(caller.refusal, UpstreamTimeout)


def test_an_unusable_ca_file_is_named(tmp_path: Path) -> None:
    """Not there, or no certificates."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for file in (tmp_path / "none.pem", empty):
        with pytest.raises(OSError, match=str(file)):
            tls_context(str(file))


def test_nothing_is_trusted_unseen() -> None:
    """The usual authorities, and the name is checked."""
    context = tls_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
