"""The origin of a soak: answers in every framing, pauses and cuts at random, and keeps the books.

    python -m loadtests.soak.origin --listen 127.0.0.1:0 --books FILE

A request counts as answered from the first byte of its reply on; then its id goes into the books, one
on each line. What is cut before that counts as not answered.
"""

import asyncio
import contextlib
import random
import socket
from pathlib import Path
from typing import BinaryIO, Final

import click
import uvloop

from loadtests.soak.bodies import skip_body
from tallygate.addresses import parse_address

_USAGE: Final = (
    b'{"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'
)
_JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_SSE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_EVENT: Final = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
_LAST: Final = b"data: " + _USAGE + b"\n\ndata: [DONE]\n\n"
_FRAMINGS: Final = ("length", "chunked", "sse", "sse", "closed", "empty", "busy")


class Books:
    """The ids of what was answered. Every line is written at once: a soak may end the hard way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def answered(self, request_id: bytes) -> None:
        """The reply begins."""
        self._file.write(request_id + b"\n")


async def serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, books: Books, dice: random.Random
) -> None:
    """One connection, until somebody closes it."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await skip_body(reader, head.lower())
            if not await _answer(writer, head, books, dice):
                break
    writer.close()


async def _answer(
    writer: asyncio.StreamWriter, head: bytes, books: Books, dice: random.Random
) -> bool:
    """Whether the connection may be used again."""
    if dice.random() < 0.02:
        await asyncio.sleep(dice.random() * 0.1)
    if dice.random() < 0.02:
        return False  # not a byte of a reply
    found = head.partition(b"\r\nx-request-id: ")[2] or head.partition(b"\r\nX-Request-Id: ")[2]
    books.answered(found.partition(b"\r\n")[0])
    framing = dice.choice(_FRAMINGS)
    pieces = _pieces(framing, dice, head_only=head.startswith(b"HEAD "))
    cut = dice.randrange(len(pieces)) if dice.random() < 0.03 and len(pieces) > 1 else -1
    for at, piece in enumerate(pieces):
        if at == cut:
            writer.write(piece[: len(piece) // 2] if at else piece)
            await writer.drain()
            return False
        writer.write(piece)
        await writer.drain()
        if dice.random() < 0.02:
            await asyncio.sleep(dice.random() * 0.05)
    return framing != "closed" and dice.random() > 0.01


_SHORT: Final = {
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "busy": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nbusy",
    "length": _JSON + b"Content-Length: %d\r\n\r\n" % len(_USAGE) + _USAGE,
}


def _pieces(framing: str, dice: random.Random, *, head_only: bool) -> list[bytes]:
    """A reply; its head is a piece of its own where there is more to come."""
    if head_only and framing != "empty":
        return [_JSON + b"Content-Length: %d\r\n\r\n" % len(_USAGE)]
    if framing in _SHORT:
        return [_SHORT[framing]]
    half = len(_USAGE) // 2
    events = [_EVENT * dice.randint(1, 40) for _ in range(dice.randint(1, 12))] + [_LAST]
    if framing == "closed":
        return [_SSE + b"Connection: close\r\n\r\n", *events]
    head, parts = (_SSE, events) if framing == "sse" else (_JSON, [_USAGE[:half], _USAGE[half:]])
    chunks = [_chunk(part) for part in parts]
    return [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunks[:-1], chunks[-1] + b"0\r\n\r\n"]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@click.command()
@click.option("--listen", default="127.0.0.1:0")
@click.option("--books", "path", type=click.Path(path_type=Path), required=True)
@click.option("--seed", default=1)
def main(listen: str, path: Path, seed: int) -> None:
    """Serve until told to stop; the first line says where."""
    address, dice = parse_address(listen), random.Random(seed)

    async def run() -> None:
        with path.open("wb", buffering=0) as file:
            books = Books(file)
            server = await asyncio.start_server(
                lambda reader, writer: serve_one(reader, writer, books, dice),
                address.host,
                address.port,
                family=socket.AF_INET,
                limit=1 << 20,
                backlog=1024,
            )
            port = server.sockets[0].getsockname()[1]
            print(f"http://{address.host}:{port}", flush=True)
            await server.serve_forever()

    uvloop.run(run())


if __name__ == "__main__":
    main()
