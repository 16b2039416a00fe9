"""The client's side of WebSockets: uvicorn's own protocol, bounded, behind our own head parser.

What uvicorn leaves open is closed here. Pongs are written without looking at what is unsent. Empty
fragments are collected without end. A connection that breaks looks like one closed without a code.
Shutdown closes at once. A client that takes nothing keeps its connection for ever. And the URL,
which may hold a secret, is logged.
"""

import asyncio
import logging
from typing import Any, Final
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from gateway.errors import Headers
from gateway.headers import first
from gateway.settings import WebSocketSettings
from gateway.websocket_head import offered

STOPPING: Final = "tallygate.stopping"  # the scope's extension: an asyncio.Event
PING_SECONDS: Final = 20.0

_MOST_FRAGMENTS: Final = 4096
_CLOSE_SECONDS: Final = 2.0  # for a client to answer our close frame and go
_MINIMAL: Final = (
    b"GET / HTTP/1.1\r\nHost: -\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
_UNFINISHED: Final = "ASGI callable returned without completing handshake."


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """uvicorn's log without a line for every handshake, and one more for every refused one."""

    level = logging.WARNING

    def info(self, *_: Any, **__: Any) -> None:
        """Say nothing."""

    def error(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """An application that refuses in HTTP has left nothing undone."""
        if msg != _UNFINISHED:
            super().error(msg, *args, **kwargs)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol; `take_over` begins where a head asked for a WebSocket and was checked.

    Used of uvicorn 0.54: `conn`, `queue`, `frames`, `writable`, `scope`, `transport`, `close_sent`,
    `close_timeout`, `disconnected`, `handle_connect`, `handle_cont`, `handle_ping`,
    `handle_parser_exception`, `on_task_complete`, `shutdown`.
    """

    _target = b""
    _headers: Headers = []  # noqa: RUF012 - replaced, never changed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _Quiet(self.logger)  # type: ignore[assignment]  # only its methods are used
        self.stopping = asyncio.Event()
        self.close_timeout = _CLOSE_SECONDS

    def take_over(self, transport: asyncio.Transport, target: bytes, headers: Headers) -> None:
        """Go on with a connection whose head was read by someone else.

        The library sees a head of ours: its own parser knows limits that the listener does not.
        """
        self._target, self._headers = target, headers
        self.connection_made(transport)
        self.data_received(_MINIMAL % first(headers, b"sec-websocket-key"))
        transport.set_protocol(self)

    def handle_connect(self, event: Request) -> None:
        """Tell the application of the head that really came; its task has not begun yet."""
        super().handle_connect(event)
        path, _, query = self._target.partition(b"?")
        protocols = [each.decode("ascii") for each in offered(self._headers)]
        self.scope["path"] = unquote(path.decode("latin-1"))
        self.scope["raw_path"], self.scope["query_string"] = path, query
        self.scope["headers"], self.scope["subprotocols"] = self._headers, protocols
        self.scope["extensions"][STOPPING] = self.stopping  # type: ignore[assignment]

    def shutdown(self) -> None:
        """The worker stops: the application knows what is under way, so it closes."""
        if self.close_sent:
            super().shutdown()
        else:
            self.stopping.set()

    def handle_ping(self) -> None:
        """Answer, but not a client that takes no answers (RFC 6455 §5.5.3 lets us skip some)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """A fragment; a message may have so many."""
        if len(self.frames) < _MOST_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """The client broke the rules and was told so; to the application it is gone."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is done: what the client does not take now is dropped."""
        super().on_task_complete(task)
        if task.cancelling():  # the server has no more time
            self.transport.abort()
        elif not self.disconnected:
            self.loop.call_later(self.close_timeout, self.transport.abort)


def hand_over(http: HttpToolsProtocol, target: bytes, headers: Headers) -> None:
    """Give the connection of an HTTP protocol, whose reply is not begun, to its WebSocket protocol.

    `headers` passed `websocket_head.check`; names in lower case.
    """
    http.connections.discard(http)
    protocol: Any = http.ws_protocol_class
    taking = protocol(config=http.config, server_state=http.server_state, app_state=http.app_state)
    taking.take_over(http.transport, target, headers)


def websocket_options(settings: WebSocketSettings) -> dict[str, Any]:
    """The options for uvicorn.Config.

    Not compressed: each connection would hold two windows of zlib, for audio that does not shrink.
    No pong is waited for: while a slow upstream keeps us from reading, it is not the client's fault.
    """
    return {
        "ws": BoundedWebSocket,
        "ws_max_size": int(settings.max_message_bytes),
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": None,
    }
