"""Real servers over real sockets for tests: an upstream that says what a test wrote, and uvicorn."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

_WAIT_SECONDS = 10.0


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of the condition; fails when there is none for long."""
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("it did not happen")


@dataclass
class Received:
    """One request as it came over the socket, and the socket to answer on."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    _socket: socket.socket
    closed: bool = field(default=False, init=False)

    def header(self, name: bytes) -> bytes | None:
        """The only value of a header, None without one."""
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, f"{name!r} came {len(values)} times"
        return values[0] if values else None

    def send(self, data: bytes) -> None:
        """Write these bytes; a peer that is gone is no error of the test's."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def reply(self, body: bytes, *headers: bytes, status: bytes = b"200 OK") -> None:
        """A whole reply with its length."""
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def json(self, body: bytes) -> None:
        """A whole JSON reply."""
        self.reply(body, b"Content-Type: application/json")

    def open_stream(self, *headers: bytes) -> None:
        """The head of a chunked stream of events."""
        lines = [b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked", *headers]
        self.send(b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def hang_up(self) -> None:
        """Close the connection, whatever was said so far."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def wait_for_hang_up(self) -> None:
        """Return when the other side closes."""
        with contextlib.suppress(OSError):
            while self._socket.recv(65536):
                pass
        self.closed = True


Handler = Callable[[Received], None]


class Upstream:
    """A server that keeps what it was asked and lets the test answer it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.requests: list[Received] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def accept_forever(self) -> None:
        """Serve every connection in a thread of its own."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while True:
                request = read_request(reader, connection)
                if request is None:
                    return
                self.requests.append(request)
                self._handler(request)
                if request.closed:
                    return

    def close(self) -> None:
        """End every thread."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_WAIT_SECONDS)


def read_request(reader: Any, connection: socket.socket) -> Received | None:
    """The next request of a connection, None at its end."""
    line = reader.readline()
    if not line:
        return None
    method, target, _ = line.split(b" ")
    headers = []
    while (line := reader.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    framing = {name.lower(): value for name, value in headers}
    if framing.get(b"transfer-encoding") == b"chunked":
        body = _read_chunks(reader)
    else:
        body = reader.read(int(framing.get(b"content-length", 0)))
    return Received(method.decode(), target, headers, body, connection)


def _read_chunks(reader: Any) -> bytes:
    body = b""
    while size := int(reader.readline() or b"0", 16):
        body += reader.read(size)
        reader.readline()
    while reader.readline().rstrip(b"\r\n"):  # trailers
        pass
    return body


@contextmanager
def accepting(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port at which each connection is served in a thread of its own until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    open_ones: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(_WAIT_SECONDS)


@contextmanager
def upstream(handler: Handler) -> Iterator[Upstream]:
    """An upstream that answers with `handler` until the block ends."""
    server = Upstream(handler)
    accepting = threading.Thread(target=server.accept_forever, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.close()
        accepting.join(_WAIT_SECONDS)


class _Prompt(uvicorn.Server):
    """uvicorn that notices sooner that it should stop; a suite has many servers."""

    async def main_loop(self) -> None:
        while not self.should_exit:  # noqa: ASYNC110 - another thread sets the flag
            await asyncio.sleep(0.005)


@contextmanager
def serving(app: Any, **config: Any) -> Iterator[int]:
    """The port on which uvicorn serves the app until the block ends."""
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": 1,
    }
    server = _Prompt(uvicorn.Config(app, **settings | config))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        yield port
    finally:
        server.should_exit = True
        thread.join(_WAIT_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


def ask(port: int, request: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_SECONDS) as connection:
        connection.sendall(request)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes, however it does."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return bytes(data)


def push_until_stuck(connection: socket.socket, limit: int) -> int:
    """Send until the other side takes nothing more, at most `limit` bytes; how many went."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < limit:
            sent += connection.send(b"x" * min(65536, limit - sent))
    return sent


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Everything up to the first read that holds the mark."""
    data = b""
    while mark not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data
