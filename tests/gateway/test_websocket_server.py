"""What one side of a WebSocket may make the gateway hold, and what stopping does to open ones."""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from metering.usage import Outcome
from tests.gateway.running import gateway
from tests.gateway.talking import dial, echo, talker
from tests.gateway.test_websocket_entry import HANDSHAKE
from tests.servers import eventually, read_all

BIG = 64 * 1024
ENOUGH = 512  # messages: 32 MiB, more than all sockets on the way hold
MASKED_EMPTY_CONT = b"\x00\x80\x00\x00\x00\x00"
MASKED_PING = b"\x89\xfd\x00\x00\x00\x00" + b"p" * 125


def shaken(port: int, *, small: bool = False) -> socket.socket:
    """A raw client's socket after the handshake."""
    client = socket.socket()
    if small:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    client.sendall(HANDSHAKE + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)  # frames may follow at once
    assert b" 101 " in head
    return client


def open_sockets() -> int:
    """Of this process, where all sides of a test live."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(link.is_socket() for link in links)


def settled(count: Callable[[], int]) -> int:
    """The count once it has not changed for a while."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.02)
        if count() != last:
            last, since = count(), time.monotonic()
    return last


def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    """Little is held meanwhile; when it reads, everything comes, in order."""
    sent = 0

    def pour(connection: ServerConnection) -> None:
        nonlocal sent
        for number in range(ENOUGH):
            connection.send(b"%06d" % number + bytes(BIG - 6))
            sent += 1

    with talker(pour) as up, gateway(up.url) as gw, shaken(gw.port, small=True) as client:
        eventually(lambda: sent)
        stuck = settled(lambda: sent)
        assert stuck < ENOUGH * 3 // 4
        handed = gw.telemetry.bytes_out
        assert handed <= stuck * BIG
        reader = client.makefile("rb")
        for number in range(ENOUGH):
            head = reader.read(10)
            assert head[:2] == b"\x82\x7f"
            assert reader.read(BIG)[:6] == b"%06d" % number
        reader.close()
        assert gw.telemetry.bytes_out == ENOUGH * BIG


def test_an_upstream_that_does_not_read_stops_the_client() -> None:
    """Little is held meanwhile; when it reads, everything comes, in order."""
    go, sent = threading.Event(), 0
    received: list[str | bytes] = []

    def lazy(connection: ServerConnection) -> None:
        go.wait(20)
        received.extend(message[:6] for message in connection)

    with talker(lazy, max_queue=1) as up, gateway(up.url) as gw, dial(gw) as client:

        def pour() -> None:
            nonlocal sent
            for number in range(ENOUGH):
                client.send(b"%06d" % number + bytes(BIG - 6))
                sent += 1

        pouring = threading.Thread(target=pour)
        pouring.start()
        eventually(lambda: sent)
        stuck = settled(lambda: sent)
        assert stuck < ENOUGH * 3 // 4
        assert gw.telemetry.bytes_in <= stuck * BIG
        go.set()
        pouring.join(20)
        assert eventually(lambda: len(received) == ENOUGH)
        assert received == [b"%06d" % number for number in range(ENOUGH)]


def test_a_client_that_only_pings_is_not_answered_for_ever() -> None:
    """Pongs nobody takes are not collected; the connection lives on."""
    with talker(echo) as up, gateway(up.url) as gw, shaken(gw.port, small=True) as client:
        client.settimeout(1)
        total = 16 << 20
        sent = 0
        with suppress(TimeoutError):
            while sent < total:
                client.sendall(MASKED_PING * 500)
                sent += 500 * len(MASKED_PING)
        assert sent >= total  # it was read on, so what it asked for was dropped
        client.settimeout(10)
        client.sendall(b"\x81\x82\x00\x00\x00\x00hi")
        answered = bytearray()
        while b"\x81\x02hi" not in answered:
            answered += client.recv(1 << 20)
        assert len(answered) < total // 2


def test_fragments_without_end_are_refused() -> None:
    """Empty ones too, which no bound on bytes would stop."""
    with talker(echo) as up, gateway(up.url) as gw, shaken(gw.port) as client:
        client.sendall(b"\x01\x80\x00\x00\x00\x00")
        with suppress(ConnectionError):
            client.sendall(MASKED_EMPTY_CONT * 5000)
        assert b"\x03\xf1too many fragments" in read_all(client)
        record = gw.record()
        assert record.outcome is Outcome.CLIENT_LEFT
        assert record.quantities["messages_in"].value == 0


@pytest.mark.parametrize("frame", [b"\x81\x02hi", b"\xf1\x80\x00\x00\x00\x00", b"\x83\x80aaaa"])
def test_a_frame_against_the_rules_ends_the_session(frame: bytes) -> None:
    """Unmasked, reserved bits, an opcode nobody knows; also before the upstream has answered."""
    with talker(echo) as up, gateway(up.url) as gw:
        with shaken(gw.port) as client:
            client.sendall(frame)
            assert read_all(client)[2:4] == b"\x03\xea"  # 1002
        assert gw.record().outcome is Outcome.CLIENT_LEFT
        assert eventually(lambda: up.closes) == [(1001, "")]


def test_early_frames_against_the_rules_end_the_session_too() -> None:
    """They come before the handshake is answered, and crash nothing."""
    with (
        talker(echo, process_request=lambda *_: time.sleep(0.3)) as up,
        gateway(up.url) as gw,
        socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client,
    ):
        client.sendall(HANDSHAKE + b"\r\n")
        time.sleep(0.1)
        client.sendall(b"\x83\x80aaaa")
        assert b" 101 " not in read_all(client)
        assert gw.record().status == 499


@pytest.mark.skipif(sys.platform != "linux", reason="looks for sockets in /proc")
def test_a_client_that_takes_nothing_is_given_up() -> None:
    """A session that is over leaves no connection behind that waits for it."""

    def pour(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                connection.send(bytes(BIG))

    with (
        talker(pour) as up,
        gateway(up.url, timeouts={"idle": 0.3}) as gw,
    ):
        before = open_sockets()
        with shaken(gw.port, small=True):
            assert gw.record().outcome is Outcome.COMPLETE
            eventually(lambda: open_sockets() <= before + 1)  # the client's own


def test_a_cut_during_the_close_leaves_nothing_open() -> None:
    """The server's cancellation gets past every shield; the record is written before."""

    def pour(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                connection.send(bytes(BIG))

    with talker(pour) as up, ExitStack() as stack:
        gw = stack.enter_context(gateway(up.url, timeouts={"idle": 0.3}))
        with shaken(gw.port, small=True):
            eventually(lambda: gw.kept.records)  # now it waits for the client to take its close
            stack.close()
        assert gw.telemetry.open_exchanges == 0
        assert gw.kept.open == {}


def test_handshakes_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A URL may hold a secret."""
    with caplog.at_level(logging.INFO), talker(echo) as up, gateway(up.url) as gw:
        with dial(gw, "/v1/x?token=sesame"):
            pass
        gw.record()
    assert "sesame" not in caplog.text


def test_a_worker_that_stops_says_so() -> None:
    """Open sockets get 1001, after their records."""
    with talker(echo) as up, ExitStack() as stack:
        gw = stack.enter_context(gateway(up.url, settings={"drain_timeout": 0.5}))
        with dial(gw) as client:
            client.send("x")
            client.recv(timeout=10)
            stack.close()
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=10)
            assert (client.close_code, client.close_reason) == (1001, "restarting")
        assert eventually(lambda: up.closes) == [(1001, "")]
        assert gw.record().outcome is Outcome.COMPLETE
        assert gw.kept.open == {}


def test_a_session_that_outlasts_the_drain_time_is_cut_and_recorded() -> None:
    """The server ends the task; what was used until then counts."""
    with talker(echo) as up, ExitStack() as stack:
        gw = stack.enter_context(gateway(up.url))
        with dial(gw) as client:

            def chat() -> None:
                with suppress(ConnectionClosed):
                    while True:
                        client.send("x")
                        client.recv(timeout=10)

            chatting = threading.Thread(target=chat)
            chatting.start()
            eventually(lambda: gw.telemetry.bytes_out)
            stack.close()
            chatting.join(10)
            assert client.close_code == 1006
        record = gw.record()
        assert record.outcome is Outcome.CLIENT_LEFT
        assert record.quantities["messages_out"].value > 0
        assert gw.kept.open == {}
