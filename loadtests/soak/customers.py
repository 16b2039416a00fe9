"""The customers of a soak: raw sockets that call in every way, pause, leave and come back."""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from loadtests.soak.bodies import skip_body

_BODY: Final = b'{"model":"m","messages":[{"role":"user","content":"words"}]}'
_LARGE: Final = b'{"model":"m","pad":"' + b"x" * 100_000 + b'"}'
_PATIENCE_S: Final = 60.0


class Left(Exception):
    """The customer hung up on purpose."""


@dataclass
class Account:
    """How many calls are still to be made, and how those before ended."""

    to_make: int
    ended: Counter[str] = field(default_factory=Counter)

    def take(self) -> bool:
        """Whether there is one more."""
        self.to_make -= 1
        return self.to_make >= 0


async def call_on(address: tuple[str, int], account: Account, path: str, keys: list[str], seed: int) -> None:  # fmt: skip
    """One customer after the other, each on a connection of his own, until all calls are made."""
    dice = random.Random(seed)
    while account.to_make > 0:
        try:
            reader, writer = await asyncio.open_connection(*address, limit=1 << 20)
        except OSError as problem:
            account.ended[f"not connected: {problem.strerror}"] += 1
            await asyncio.sleep(0.1)
            continue
        try:
            await _calls(reader, writer, account, (path, dice.choice(keys)), dice)
        except Left:
            account.ended["left"] += 1
        except (OSError, asyncio.IncompleteReadError):
            account.ended["cut"] += 1
        except TimeoutError:
            account.ended["no answer"] += 1
        finally:
            if dice.random() < 0.5:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _calls(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    account: Account,
    who: tuple[str, str],
    dice: random.Random,
) -> None:
    while account.take():
        method = dice.choice((b"POST", b"POST", b"POST", b"GET", b"HEAD"))
        await _send(writer, method, who, dice)
        async with asyncio.timeout(_PATIENCE_S):
            status, again = await _read(reader, dice, head_only=method == b"HEAD")
        account.ended[status] += 1
        if not again or dice.random() < 0.02:
            return


async def _send(
    writer: asyncio.StreamWriter, method: bytes, who: tuple[str, str], dice: random.Random
) -> None:
    path, key = who
    head = [b"%b %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b" % (method, path.encode(), key.encode())]  # fmt: skip
    body = b""
    if method == b"POST":
        body = _LARGE if dice.random() < 0.02 else _BODY
        head.append(b"Content-Type: application/json")
        if dice.random() < 0.2:
            head.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            head.append(b"Content-Length: %d" % len(body))
    message = b"\r\n".join(head) + b"\r\n\r\n" + body
    if dice.random() < 0.05:  # in two parts, and sometimes only the first
        at = dice.randrange(1, len(message))
        writer.write(message[:at])
        await writer.drain()
        await asyncio.sleep(dice.random() * 0.02)
        if dice.random() < 0.3:
            raise Left
        message = message[at:]
    writer.write(message)
    await writer.drain()
    if dice.random() < 0.02:
        await asyncio.sleep(dice.random() * 0.005)
        raise Left


async def _read(
    reader: asyncio.StreamReader, dice: random.Random, *, head_only: bool
) -> tuple[str, bool]:
    """Status, and whether the connection may be used again."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head[9:12].decode()
    if dice.random() < 0.02:
        await asyncio.sleep(dice.random() * 0.05)
    if dice.random() < 0.03:
        raise Left
    again = b"\r\nconnection: close" not in head
    if head_only or status == "204":
        return status, again
    if not await skip_body(reader, head):
        await reader.read()
    return status, again
