"""How a gateway worker stops, as a process on real sockets."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import httpx
import pytest

from metering.lanes import lanes_in
from metering.usage import UsageRecord
from tests.installations import (
    CHAT,
    KEY,
    Served,
    configuration,
    eventually,
    set_up_ledger,
    tallygate,
    valkey_on_tcp,
    write,
)
from tests.servers import Received, upstream

BODY = json.dumps({"model": "m", "messages": []}).encode()
HEAD = (
    f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()
USAGE = b'{"usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}}'
LONG_S = 3600
PORTABLE_TOO = pytest.mark.parametrize("shell", ["linerate", "portable"])


@dataclass
class Slow:
    """Begins each reply at once, with its usage, and ends it when told."""

    go_on: Event = field(default_factory=Event)

    def __call__(self, request: Received) -> None:
        request.open_stream()
        request.chunk(b"data: " + USAGE + b"\n\n")
        self.go_on.wait(60)
        request.chunk(b"data: [DONE]\n\n")
        request.chunk(b"")


@dataclass
class Stopping:
    """A worker that is to be stopped, and its upstream."""

    served: Served
    slow: Slow
    port: int
    clients: ExitStack

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A client who has sent this."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.clients.callback(client.close)
        client.sendall(sent)
        return client

    def begun(self) -> socket.socket:
        """A client in the middle of a reply."""
        client = self.connect(HEAD + BODY)
        until(client, b"data: {")
        return client

    def leave(self) -> None:
        """A client who leaves in the middle of a reply, which is read on for its usage."""
        self.begun().close()
        eventually(lambda: self.served.metric("gateway_drains_active") == 1)

    def told(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop; return when nobody new is let in."""
        self.served.command.tell(number)
        eventually(self._refuses)

    def _refuses(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return True
        return False

    def ended(self) -> list[UsageRecord]:
        """The records of all its calls, once it has ended well; nothing is left open."""
        assert self.served.command.wait() == 0
        assert "Traceback" not in self.served.command.stderr
        (lane,) = lanes_in(self.served.folder / "var" / "journal")
        sealed = lane.sealed()
        assert sealed is not None
        assert not sealed.open
        return [each for segment in lane.segments() for _, each in segment.records()]


def until(client: socket.socket, text: bytes) -> bytes:
    """What comes up to this text."""
    came = b""
    while text not in came:
        piece = client.recv(65536)
        assert piece, came
        came += piece
    return came


def rest(client: socket.socket) -> bytes:
    """What comes until the end, however it comes."""
    came = b""
    try:
        while piece := client.recv(65536):
            came += piece
    except ConnectionError:
        pass
    return came


def ends_of(records: list[UsageRecord]) -> list[tuple[str, int]]:
    """How each call ended, and how many tokens it used."""
    return sorted((each.outcome, each.quantities["tokens_total"].value) for each in records)


@contextmanager
def worker(folder: Path, shell: str, drain_s: float) -> Iterator[Stopping]:
    """One, without a supervisor."""
    slow = Slow()
    with upstream(slow) as up, valkey_on_tcp(folder) as redis:
        config = configuration(up.url, redis=redis)
        config["gateway"] |= {"shell": shell, "drain_timeout": drain_s}
        path = write(folder / "x", config)
        set_up_ledger(path)
        with (
            tallygate("gateway", "-c", str(path), folder=folder / "x") as command,
            httpx.Client(trust_env=False, timeout=30) as http,
        ):
            served = Served(folder / "x", command, http)
            port = int(httpx.URL(served.gateway).port or 0)
            eventually(lambda: http.get(served.plane("gateway")["admin"] + "/-/readyz").is_success)
            with ExitStack() as clients:
                yield Stopping(served, slow, port, clients)
        slow.go_on.set()


@PORTABLE_TOO
def test_what_is_open_finishes(tmp_path: Path, shell: str) -> None:
    """Replies on their way, also one that is read for a client who left; idle clients are let go."""
    with worker(tmp_path, shell, LONG_S) as stopping:
        open_reply, idle = stopping.begun(), stopping.connect()
        stopping.leave()
        stopping.told()
        assert rest(idle) == b""
        assert stopping.served.metric("gateway_open_exchanges") == 2
        assert stopping.served.command.process.poll() is None
        stopping.slow.go_on.set()
        assert rest(open_reply).endswith(b"0\r\n\r\n")
        assert ends_of(stopping.ended()) == [("client_left", 5), ("complete", 5)]


def test_half_a_request_may_be_sent_to_its_end(tmp_path: Path) -> None:
    """In the middle of its head or its body: whoever sends it does not know that we stop."""
    with worker(tmp_path, "linerate", LONG_S) as stopping:
        stopping.slow.go_on.set()
        in_head, in_body = stopping.connect(HEAD[:50]), stopping.connect(HEAD + BODY[:5])
        eventually(lambda: stopping.served.metric("gateway_open_exchanges") == 1)
        stopping.told()
        idle = [stopping.served.metric("gateway_open_exchanges") for _ in range(20)]
        assert set(idle) == {1}
        in_head.sendall(HEAD[50:] + BODY)
        in_body.sendall(BODY[5:])
        for client in (in_head, in_body):
            reply = rest(client)
            assert reply.startswith(b"HTTP/1.1 200")
            assert reply.endswith(b"0\r\n\r\n")
        assert ends_of(stopping.ended()) == [("complete", 5), ("complete", 5)]


@PORTABLE_TOO
@pytest.mark.parametrize("hurried", [False, True], ids=["time is up", "told twice"])
def test_what_takes_too_long_is_cut_off_with_a_record(
    tmp_path: Path, shell: str, hurried: bool
) -> None:
    """What was reported so far is counted, of clients who left too."""
    with worker(tmp_path, shell, LONG_S if hurried else 1) as stopping:
        open_reply = stopping.begun()
        stopping.leave()
        stopping.told()
        if hurried:
            stopping.served.command.tell(signal.SIGTERM)
        assert not rest(open_reply).endswith(b"0\r\n\r\n")
        assert ends_of(stopping.ended()) == [("client_left", 5), ("client_left", 5)]
