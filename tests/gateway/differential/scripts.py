"""A case is data: what a client sends and what an upstream says, byte for byte, in pieces."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import itemgetter

from tests.gateway.callers import reset
from tests.servers import accepting

KEY = b"X-Api-Key: sk-test\r\n"
HOST = b"Host: gw\r\n"
PROBE = b"GET /v1/probe HTTP/1.1\r\n" + HOST + KEY + b"Connection: close\r\n\r\n"
PROBED = b"still here"

_WAIT_S = 10.0
_PAUSE_S = 0.02  # so that two pieces are two reads


class Step(Enum):
    """What either side does between two sends."""

    PAUSE = auto()
    CLOSE = auto()
    RESET = auto()
    ASKED = auto()  # the client: wait until the upstream has the request's head
    REPLIED = auto()  # the client: wait until some of the reply is there
    SAID = auto()  # the client: wait until the upstream has followed its steps
    LEFT = auto()  # the upstream: wait until the gateway closes, or the client is seen to be gone


Steps = Sequence[bytes | Step]


@dataclass(frozen=True)
class Case:
    """`client` is sent as it is; `upstream` are the steps for each request in turn, or for all.

    `methods` are those of the replies to expect. `early`: the upstream does not read the body.
    `differs` are the parts in which the shells may differ, for the reason given.
    """

    name: str
    client: Steps
    upstream: Sequence[Steps]
    methods: Sequence[str] = ("GET",)
    early: bool = False
    policy: str = "drain"
    differs: frozenset[str] = frozenset()
    because: str = ""


@dataclass(frozen=True)
class Seen:
    """A request as the upstream saw it; headers by their names in lower case, less the id."""

    line: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Scripted:
    """An upstream that follows the script of the case that is played."""

    port: int = 0
    script: Sequence[Steps] = ()
    early: bool = False
    seen: list[Seen] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    said: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)  # the client
    _turn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, case: Case) -> None:
        """From now on this is the script."""
        self.script, self.early, self._turn = case.upstream, case.early, 0
        self.seen.clear()
        self.asked.clear()
        self.said.clear()
        self.gone.clear()

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the connection ends or the script ends it."""
        connection.settimeout(_WAIT_S)
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while line := reader.readline():
                headers = tuple(_read_headers(reader))
                if line.split(b" ")[1].endswith(b"/probe"):
                    _send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + PROBED)
                    continue
                early = self.early  # of this case, also when the next one has begun
                self.asked.set()
                body = b"" if early else _read_body(reader, dict(headers))
                with self._lock:
                    self.seen.append(Seen(line, _stable(headers), body))
                    steps = self.script[min(self._turn, len(self.script) - 1)]
                    self._turn += 1
                goes_on = self._follow(steps, connection)
                self.said.set()
                if not goes_on:
                    return
                if early:
                    _read_body(reader, dict(headers))

    def _follow(self, steps: Steps, connection: socket.socket) -> bool:
        for step in steps:
            if isinstance(step, bytes):
                _send(connection, step)
            elif step is Step.PAUSE:
                time.sleep(_PAUSE_S)
            elif step is Step.LEFT:
                self.gone.wait(_WAIT_S)
            elif step is Step.RESET:
                reset(connection)
                return False
            else:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                return False
        return True


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


def _read_headers(reader: object) -> Iterator[tuple[bytes, bytes]]:
    while line := reader.readline().rstrip(b"\r\n"):  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        yield name.lower(), value.strip()


def _stable(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    kept = [each for each in headers if each[0] != b"x-request-id"]
    return tuple(sorted(kept, key=itemgetter(0)))  # stable: those of one name keep their order


def _read_body(reader: object, headers: dict[bytes, bytes]) -> bytes:
    read, readline = reader.read, reader.readline  # type: ignore[attr-defined]
    if headers.get(b"transfer-encoding") != b"chunked":
        length = int(headers.get(b"content-length", b"0"))
        body: bytes = read(length)
        if len(body) < length:
            raise ConnectionError
        return body
    content = b""
    while size := _size(readline()):
        content += read(size)
        readline()
    while readline().rstrip(b"\r\n"):
        pass
    return content


def _size(line: bytes) -> int:
    try:
        return int(line, 16)
    except ValueError:  # broken off, or no chunk
        raise ConnectionError from None


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A scripted upstream until the block ends."""
    server = Scripted()
    with accepting(server.serve) as server.port:
        yield server
