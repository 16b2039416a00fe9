"""ASGI plumbing of the stub upstream: bodies in, JSON and paced events out, clients that leave."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from starlette.types import Receive, Send

from tallygate.demo.replies import Reply
from tallygate.demo.wire import json_bytes

# Without a delay several events share one write, as they do from a server that is fast.
_EVENTS_PER_WRITE: Final = 4
_JSON: Final = b"application/json"
_SSE: Final = b"text/event-stream; charset=utf-8"


class ClientLeft(Exception):
    """The client hung up before its request was whole."""


class TooLarge(Exception):
    """The request's body is over the bound."""


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """The request's body, read to its end. Raises ClientLeft or TooLarge."""
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size <= max_bytes:
            pieces.append(piece)
    if size > max_bytes:
        raise TooLarge
    return b"".join(pieces)


async def send_json(send: Send, status: int, value: object) -> None:
    """A whole JSON reply."""
    await _send_head(send, status, _JSON)
    await send({"type": "http.response.body", "body": json_bytes(value)})


async def _send_head(send: Send, status: int, kind: bytes, length: int | None = None) -> None:
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_reply(
    reply: Reply, delay: float, receive: Receive, send: Send, completed: Callable[[], None]
) -> None:
    """Send it, `delay` seconds per token, and call `completed` when the client stayed to the end.

    It is called before the loop can turn: who has read the reply finds it counted.
    """

    async def whole() -> None:
        await anyio.sleep(delay * reply.tokens_out)
        await _send_body(reply.pieces[0], send)
        completed()

    async def streamed() -> None:
        await _send_events(reply, delay, send)
        completed()

    if reply.stream or delay:
        await _while_connected(receive, streamed if reply.stream else whole)
    else:
        await whole()


async def _send_body(body: bytes, send: Send) -> None:
    await _send_head(send, 200, _JSON, len(body))
    await send({"type": "http.response.body", "body": body})


async def _send_events(reply: Reply, delay: float, send: Send) -> None:
    await _send_head(send, 200, _SSE)
    for piece in _writes(reply.pieces, 1 if delay else _EVENTS_PER_WRITE):
        if delay:
            await anyio.sleep(delay)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    # A client that left while a write was held back is noticed here, before the reply counts.
    await checkpoint()
    await send({"type": "http.response.body", "body": b""})


def _writes(events: tuple[bytes, ...], together: int) -> Iterator[bytes]:
    yield events[0]
    for start in range(1, len(events), together):
        yield b"".join(events[start : start + together])


async def _while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`, and cancel it when the client leaves."""
    async with anyio.create_task_group() as tasks:

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(until_gone)
        await work()
        tasks.cancel_scope.cancel()
