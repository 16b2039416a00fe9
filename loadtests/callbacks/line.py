"""The cheapest way to send a callback: keep-alive connections, requests written by hand.

It shares a core with what is measured, so each call must cost little.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from tallygate.simulator.tampering import SignedCallback
from tallygate.simulator.v1_calls import SignedCall

_CONNECT_S: Final = 5.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Line:
    """To one address. `close` when done."""

    url: str
    _free: list[Connection] = field(default_factory=list)

    async def send(self, call: SignedCallback | SignedCall) -> bytes:
        """The body of the reply; empty for anything but HTTP 200."""
        request = self._request(call)
        while self._free:
            connection = self._free.pop()
            with suppress(asyncio.IncompleteReadError, ConnectionError):  # kept for too long
                return await self._exchange(connection, request)
        return await self._exchange(await self._connection(), request)

    async def _exchange(self, connection: Connection, request: bytes) -> bytes:
        reader, writer = connection
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:") + 15
        body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
        self._free.append(connection)
        return body if head.startswith(b"HTTP/1.1 200") else b""

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    async def _connection(self) -> Connection:
        parts = urlsplit(self.url)
        async with asyncio.timeout(_CONNECT_S):
            return await asyncio.open_connection(parts.hostname, parts.port)

    def _request(self, call: SignedCallback | SignedCall) -> bytes:
        parts = urlsplit(self.url)
        if isinstance(call, SignedCall):
            return (
                f"GET {parts.path}?{call.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
            )
        head = (
            f"POST {parts.path}?{urlencode(call.params)} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(call.content)}\r\n\r\n"
        )
        return head.encode() + call.content
