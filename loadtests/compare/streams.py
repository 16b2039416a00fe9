"""Many streams that stay open: each has had its first event and waits for the next."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from loadtests.compare.load import Wrong, request
from loadtests.compare.scenarios import Scenario

_PATIENCE_S: Final = 30.0


@contextmanager
def open_streams(scenario: Scenario, port: int, count: int) -> Iterator[None]:
    """They are open until the block ends. Raises Wrong when one does not begin."""
    with ExitStack() as stack:
        waiting = selectors.DefaultSelector()
        stack.callback(waiting.close)
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            connection.sendall(request(scenario, port))
            waiting.register(connection, selectors.EVENT_READ, bytearray())
        _await_first_events(waiting)
        yield


def _await_first_events(waiting: selectors.BaseSelector) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while waiting.get_map():
        if time.monotonic() > limit:
            raise Wrong(f"{len(waiting.get_map())} streams did not begin")
        for key, _ in waiting.select(0.1):
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(65536)
            key.data.extend(data)
            if not data or not key.data.startswith(b"HTTP/1.1 200"[: len(key.data)]):
                raise Wrong(f"a stream began with {bytes(key.data[:80])!r}")
            if b"data: {" in key.data:
                waiting.unregister(key.fileobj)
