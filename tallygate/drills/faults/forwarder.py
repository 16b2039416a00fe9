"""A TCP forwarder whose other end can be changed while it runs."""

from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

HERE: Final = "127.0.0.1"


class Forwarder:
    """Passes on what comes to a port of its own; connections end when its target changes."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: set[anyio.CancelScope] = set()

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        """Listen until cancelled; it starts with its own port."""
        async with await anyio.create_tcp_listener(local_host=HERE) as listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610  (no Django here)
            task_status.started(port)
            await listener.serve(self._link)

    def switch(self, target: int) -> None:
        """Connections go to another port of this machine from now on."""
        self._target = target
        for scope in self._links:
            scope.cancel()

    async def _link(self, client: SocketStream) -> None:
        async with client:
            with suppress(OSError, anyio.BrokenResourceError), anyio.CancelScope() as scope:
                self._links.add(scope)
                try:
                    async with await anyio.connect_tcp(HERE, self._target) as server:
                        await _both_ways(client, server)
                finally:
                    self._links.discard(scope)


async def _both_ways(one: SocketStream, other: SocketStream) -> None:
    async with anyio.create_task_group() as group:

        async def pump(source: SocketStream, sink: SocketStream) -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    await sink.send(await source.receive())
            group.cancel_scope.cancel()

        group.start_soon(pump, one, other)
        group.start_soon(pump, other, one)
