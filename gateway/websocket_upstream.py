"""Opens WebSockets to upstreams, and speaks of its failures in the gateway's errors.

The library's connection without its `connect`: that one follows redirects, goes through proxies
named in the environment, and adds headers of its own.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers as Fields
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from gateway.dialing import tls_context
from gateway.errors import Headers, UpstreamProtocol, UpstreamTimeout, UpstreamUnavailable
from gateway.routing import UNIX, ServedRoute

# A pong proves nothing while a slow client keeps us from reading, so none is waited for; the pings
# keep the connection alive in the eyes of what stands between.
PING_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 2.0
_FRAMES_AHEAD: Final = 2  # read before they are wanted; each as large as a message may be
_WRITE_BYTES: Final = 65_536  # unsent, before a sender waits

_log = logging.getLogger(__name__)


class HandshakeRefused(Exception):
    """The upstream answered the handshake in HTTP instead, in its own words."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(f"the upstream answered {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Handshake(NamedTuple):
    """What to ask of an upstream's origin; `headers` lack what each hop says for itself."""

    origin: str
    target: bytes
    headers: Headers
    protocols: list[bytes]


class UpstreamSockets:
    """How a worker opens WebSockets. One is always a new connection."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    async def open(self, asked: Handshake, route: ServedRoute) -> ClientConnection:
        """An open WebSocket. Raises HandshakeRefused, UpstreamUnavailable or UpstreamTimeout."""
        connection = self._connection(_uri(asked), asked.protocols)
        with _translated():
            with anyio.fail_after(route.timeouts.connect):
                await self._connect(asked.origin, connection, route.pool.ca_file)
            try:
                with anyio.fail_after(route.timeouts.head):
                    await connection.handshake(_fields(asked.headers), user_agent_header=None)
            except BaseException:
                connection.transport.abort()
                raise
        connection.start_keepalive()
        return connection

    async def _connect(
        self, origin: str, connection: ClientConnection, ca_file: str | None
    ) -> None:
        loop, uri = asyncio.get_running_loop(), connection.protocol.uri
        parts = urlsplit(origin)
        if parts.scheme == UNIX:
            await loop.create_unix_connection(lambda: connection, parts.path)
            return
        tls = self._context(ca_file) if uri.secure else None
        await loop.create_connection(lambda: connection, uri.host, uri.port, ssl=tls)

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            context = self._contexts[ca_file] = tls_context(ca_file)
        return context

    def _connection(self, uri: WebSocketURI, protocols: list[bytes]) -> ClientConnection:
        offered = [Subprotocol(each.decode("ascii")) for each in protocols]
        protocol = ClientProtocol(
            uri, subprotocols=offered or None, max_size=self._max_message_bytes, logger=_log
        )
        return ClientConnection(
            protocol,
            ping_interval=PING_SECONDS,
            ping_timeout=None,
            close_timeout=CLOSE_SECONDS,
            max_queue=_FRAMES_AHEAD,
            write_limit=_WRITE_BYTES,
        )


def _uri(asked: Handshake) -> WebSocketURI:
    """Built, not parsed: a parser would change the target."""
    parts = urlsplit(asked.origin)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    host = parts.hostname or "localhost"  # of a unix socket
    return WebSocketURI(secure, host, port, asked.target.decode("ascii"), "")


def _fields(headers: Headers) -> Fields:
    return Fields([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])


def headers_of(response: Response) -> Headers:
    """The fields of an upstream's answer, names in lower case."""
    items = response.headers.raw_items()
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in items]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except InvalidStatus as refusal:
        response = refusal.response
        if response.status_code < 300:  # it took the request for a plain one
            raise UpstreamProtocol from refusal
        headers, body = headers_of(response), bytes(response.body or b"")
        raise HandshakeRefused(response.status_code, headers, body) from refusal
    except TimeoutError as error:
        raise UpstreamTimeout from error
    except WebSocketException as error:
        raise UpstreamProtocol from error
    except OSError as error:
        raise UpstreamUnavailable from error
