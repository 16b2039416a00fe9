"""An origin in Python, for where nginx cannot be one: an LLM API that answers without thinking.

    python -m loadtests.compare.origin --listen 127.0.0.1:9000 --answering sse

`json` answers at once, `unique` with a header that no reply had before, `read` when the whole body
has come, `sse` streams 64 events, each in a turn of its own so that streams interleave, `idle` sends
one event and nothing more. `/_count` says how many calls were read.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import click
import uvloop

from loadtests.compare.scenarios import events, reply_body
from tallygate.addresses import parse_address

_JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_STREAM: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Count:
    """Calls of all connections."""

    def __init__(self) -> None:
        self.calls = 0


class Origin(asyncio.Protocol):
    """One connection. Requests come one after the other; a proxy does not pipeline."""

    def __init__(self, answering: str, count: Count, gap_s: float) -> None:
        self._answer = {"sse": self._stream, "idle": self._idle}.get(answering, self._json)
        self._unique = answering == "unique"
        self._count = count
        self._gap_s = gap_s
        self._got = b""
        self._left: list[bytes] = []
        self._body = reply_body()
        self._whole = _JSON + b"Content-Length: %d\r\n\r\n" % len(self._body) + self._body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go out at once."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        got = self._got = self._got + data if self._got else data
        end = got.find(b"\r\n\r\n")
        if end < 0 or not _whole(got, end):
            return
        self._got = b""
        if got.startswith(b"GET /_count "):
            text = b"%d" % self._count.calls
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
            self._transport.write(head + text)
        else:
            self._count.calls += 1
            self._answer()

    def _json(self) -> None:
        if self._unique:
            field = b"x-upstream-id: %032x\r\n" % self._count.calls
            length = b"Content-Length: %d\r\n\r\n" % len(self._body)
            self._transport.write(_JSON + field + length + self._body)
        else:
            self._transport.write(self._whole)

    def _stream(self) -> None:
        self._left = [_chunk(event) for event in reversed(events())]
        self._left[0] += b"0\r\n\r\n"
        self._transport.write(_STREAM)
        self._next()

    def _next(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._left.pop())
        if self._left:
            self._later(self._next)

    def _later(self, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._gap_s:
            loop.call_later(self._gap_s, call)
        else:
            loop.call_soon(call)

    def _idle(self) -> None:
        self._transport.write(_STREAM + _chunk(events()[0]))


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def _whole(got: bytes, end: int) -> bool:
    """Whether the body has come, by its Content-Length or its last chunk."""
    head = got[: end + 2].lower()
    if b"\r\ntransfer-encoding:" in head:
        return got.endswith(b"0\r\n\r\n")
    at = head.find(b"\r\ncontent-length:")
    length = int(head[at + 17 : head.index(b"\r\n", at + 17)]) if at >= 0 else 0
    return len(got) >= end + 4 + length


async def serve(listener: socket.socket, answering: str, gap_s: float) -> None:
    """Until the process is ended."""
    count = Count()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Origin(answering, count, gap_s), sock=listener)
    await server.serve_forever()


@click.command()
@click.option("--listen", default="127.0.0.1:9000", show_default=True, help="host:port")
@click.option(
    "--answering", type=click.Choice(["json", "unique", "read", "sse", "idle"]), default="json"
)
@click.option("--gap", default=0.0, help="Seconds between two events of a stream.")
def main(listen: str, answering: str, gap: float) -> None:
    """Answer like an LLM API until the process is ended."""
    address = parse_address(listen)
    listener = socket.create_server((address.host, address.port), backlog=4096)
    uvloop.run(serve(listener, answering, gap))


if __name__ == "__main__":
    main()
