"""An upstream whose calls use what nobody can know before: sizes and times by the dice.

    python -m loadtests.brakes.origin --listen 127.0.0.1:0

A call that says `max_tokens` uses exactly so many; any other between 1 and 500.
"""

import asyncio
import random
import re
import socket
from typing import Final

import click
import uvloop

from tallygate.addresses import parse_address

MOST_TOKENS: Final = 500
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ASKED: Final = re.compile(rb'"max_tokens": ?(\d+)')
_USAGE: Final = b'{"id":"x","object":"chat.completion","choices":[],"usage":{"prompt_tokens":0,"completion_tokens":%d,"total_tokens":%d}}'  # fmt: skip
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


async def serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random, slow_s: float
) -> None:
    """One connection, until somebody closes it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            asked = _ASKED.search(body)
            tokens = int(asked[1]) if asked else dice.randint(1, MOST_TOKENS)
            await asyncio.sleep(dice.random() * slow_s)
            said = _USAGE % (tokens, tokens)
            writer.write(_HEAD % len(said) + said)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


@click.command()
@click.option("--listen", default="127.0.0.1:0")
@click.option("--seed", default=1)
@click.option("--slow", default=0.05, help="Seconds a call takes at most.")
def main(listen: str, seed: int, slow: float) -> None:
    """Serve until told to stop; the first line says where."""
    address, dice = parse_address(listen), random.Random(seed)

    async def run() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: serve_one(reader, writer, dice, slow),
            address.host,
            address.port,
            family=socket.AF_INET,
            backlog=1024,
        )
        print(f"http://{address.host}:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()

    uvloop.run(run())


if __name__ == "__main__":
    main()
