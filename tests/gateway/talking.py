"""WebSockets that really run, for tests: an upstream that says what a test wrote, and clients."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.gateway.running import KEY, Running

Handler = Callable[[ServerConnection], None]


@dataclass
class Talker:
    """An upstream; `heads` are the handshakes it saw, `closes` how its connections ended."""

    url: str
    heads: list[Any] = field(default_factory=list)
    closes: list[tuple[int | None, str | None]] = field(default_factory=list)
    received: list[str | bytes] = field(default_factory=list)


@contextmanager
def talker(handler: Handler, **options: Any) -> Iterator[Talker]:
    """An upstream whose connections are `handler`'s until it returns."""
    said = Talker("")

    def handle(connection: ServerConnection) -> None:
        said.heads.append(connection.request)
        with suppress(ConnectionClosed):
            handler(connection)
        with suppress(ConnectionClosed, TimeoutError):
            connection.recv(timeout=10)  # so that the close frame of the other side is seen
        connection.close()
        said.closes.append((connection.close_code, connection.close_reason))

    with serve(handle, "127.0.0.1", 0, compression=None, **options) as server:
        said.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield said
        finally:
            server.shutdown()
            serving.join(10)


def echo(connection: ServerConnection) -> None:
    """Says what it hears."""
    for message in connection:
        connection.send(message)


def dial(
    gw: Running,
    target: str = "/v1/realtime",
    *,
    key: str | None = KEY,
    protocols: list[str] | None = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> ClientConnection:
    """A client of the gateway, shaken hands with."""
    sent = dict(headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
    opened: ClientConnection = connect(
        f"ws://127.0.0.1:{gw.port}{target}",
        additional_headers=sent,
        subprotocols=[Subprotocol(each) for each in protocols] if protocols else None,
        proxy=None,
        compression=options.pop("compression", None),
        open_timeout=10,
        **options,
    )
    return opened
