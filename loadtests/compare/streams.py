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


class _Beginning:
    """A stream that has not had its first event yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._got = b""

    def begun(self) -> bool:
        """Read what has come. Raises Wrong when it is no stream."""
        data = self.connection.recv(65536)
        self._got += data
        expected = b"HTTP/1.1 200"
        if not data or self._got[: len(expected)] != expected[: len(self._got)]:
            raise Wrong(f"a stream began with {self._got[:80]!r}")
        return b"data: {" in self._got


@contextmanager
def open_streams(scenario: Scenario, port: int, count: int) -> Iterator[None]:
    """They are open until the block ends. Raises Wrong when one does not begin."""
    with ExitStack() as stack:
        waiting = selectors.DefaultSelector()
        stack.callback(waiting.close)
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            connection.sendall(request(scenario, port))
            waiting.register(connection, selectors.EVENT_READ, _Beginning(connection))
        _await_first_events(waiting)
        yield


def _await_first_events(waiting: selectors.BaseSelector) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while waiting.get_map():
        if time.monotonic() > limit:
            raise Wrong(f"{len(waiting.get_map())} streams did not begin")
        for key, _ in waiting.select(0.1):
            stream: _Beginning = key.data
            if stream.begun():
                waiting.unregister(stream.connection)
