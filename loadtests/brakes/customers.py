"""Customers who call as fast as they are answered, each on a connection of his own."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

PATIENCE_S: Final = 60.0
_USED_UP: Final = "402"
_PAUSE_S: Final = 0.02  # after a refusal that is not the last word


class Reply(NamedTuple):
    """Status and, of a success, what it says it used."""

    status: str
    tokens: int


@dataclass
class Account:
    """What became of the calls of one customer. `most_open` at once."""

    key: str = field(repr=False)
    ended: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    largest: int = 0
    open: int = 0
    most_open: int = 0

    def saw(self, reply: Reply) -> None:
        """One call is over."""
        self.ended[reply.status] += 1
        self.tokens += reply.tokens
        self.largest = max(self.largest, reply.tokens)

    def add(self, other: "Account") -> None:
        """What became of some more calls."""
        self.ended.update(other.ended)
        self.tokens += other.tokens


Asks = Callable[[random.Random], int]  # how many tokens a call says it may use; 0 says nothing


async def use_up(address: tuple[str, int], account: Account, asks: Asks, seed: int) -> None:
    """Call until the package is used up."""
    await _calls(address, account, asks, seed, lambda: False)


async def call_for(
    address: tuple[str, int], account: Account, asks: Asks, seed: int, enough: Callable[[], bool]
) -> None:
    """Call until it is enough, or the package is used up."""
    await _calls(address, account, asks, seed, enough)


async def _calls(
    address: tuple[str, int],
    account: Account,
    asks: Asks,
    seed: int,
    enough: Callable[[], bool],
) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _again(address, account, asks, random.Random(seed), enough)
    except TimeoutError:
        account.ended["out of patience"] += 1


async def _again(
    address: tuple[str, int],
    account: Account,
    asks: Asks,
    dice: random.Random,
    enough: Callable[[], bool],
) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address)
            try:
                while not enough():
                    if await _call(reader, writer, account, asks(dice)):
                        return
                return
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            account.ended["cut"] += 1
            await asyncio.sleep(_PAUSE_S)


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, account: Account, most: int
) -> bool:
    """Whether the package is used up."""
    account.open += 1
    account.most_open = max(account.most_open, account.open)
    try:
        writer.write(_request(account.key, most))
        reply = await _read(reader)
    finally:
        account.open -= 1
    account.saw(reply)
    if reply.status.startswith(("4", "5")) and reply.status != _USED_UP:
        await asyncio.sleep(_PAUSE_S)
    return reply.status == _USED_UP


def _request(key: str, most: int) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "words"}]}
    content = json.dumps(body | ({"max_tokens": most} if most else {})).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def _read(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r")[0] or 0)
    body = await reader.readexactly(length)
    status = head[9:12].decode()
    used = json.loads(body)["usage"]["completion_tokens"] if status == "200" else 0
    return Reply(status, used)
