"""Real servers over real sockets, in a thread of the test."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from starlette.types import ASGIApp

from tallygate.addresses import Address
from tallygate.demo.upstream import bind, server_of


@contextmanager
def serving(app: ASGIApp, *, send_buffer: int | None = None) -> Iterator[str]:
    """The base URL at which `app` answers until the block ends.

    `send_buffer` bounds what the kernel takes for a client that does not read.
    """
    listener = bind(Address("127.0.0.1", 0))
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = server_of(app)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
