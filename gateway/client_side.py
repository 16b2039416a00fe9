"""A client's connection as exchanges see it: written to, refused, cut, and waited for between requests.

What reads its requests is in linerate.py. Time-outs are numbers that the sweep looks at.
"""

import asyncio
import math
import socket
import struct
from abc import abstractmethod
from contextlib import suppress
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import framing
from gateway.access_log import NOTHING_ASKED, Asked
from gateway.crossing import Crossing
from gateway.crossings import Crossings
from gateway.errors import GatewayError, RequestTimeout, body_of, headers_of
from gateway.framing import Body
from gateway.headers import dated
from gateway.telemetry import NO_ROUTE
from gateway.wire import serialised

HEAD_S: Final = 60.0  # from a connection's, or a head's, first byte to the head's last
_SWALLOWED_BYTES: Final = 1 << 20  # of a body nobody wants, so that its sender reads the answer
_LINGER_S: Final = 10.0  # for a client to take the rest and go
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the end is a reset


class ClientSide(HttpToolsProtocol):
    """The half of a client's connection that is not about reading requests."""

    shared: ClassVar[Crossings]
    max_head_bytes: ClassVar[int]
    keep_alive_s: ClassVar[float]

    deadline_s = math.inf
    _held = b""  # what came and is not looked at yet
    _body: Body | None = None  # of the request in progress, while some of it is to come
    _crossing: Crossing | None = None
    _asgi = False  # uvicorn serves the request in progress
    _swallowing = 0
    _ending = False  # no request follows
    _lost = False
    _full = False  # it does not take what is written
    _head_only = False

    @abstractmethod
    def _next(self) -> None:
        """Begin what the client sent ahead."""

    @property
    def _busy(self) -> bool:
        return self._crossing is not None or self._body is not None or self._asgi or self._full

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client."""
        super().connection_made(transport)
        self.shared.clients.add(self)
        self.deadline_s = self.shared.loop_time() + HEAD_S

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._lost = True
        super().connection_lost(exc)
        self.shared.clients.discard(self)
        crossing = self._crossing
        if crossing is not None:
            self.connections.add(self)  # so that the server waits for what is still read
            crossing.client_left()

    def pause_writing(self) -> None:
        """The client takes nothing at the moment."""
        super().pause_writing()
        self._full = True
        if self._crossing is not None:
            self._crossing.client_full()
        else:
            self.deadline_s = self.shared.now_s + _LINGER_S

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._full = False
        if self._crossing is not None:
            self._crossing.client_ready()
        elif not self._busy and not self._lost:
            self._rest()

    def shutdown(self) -> None:
        """The server ends: what is open finishes, nothing follows."""
        self._ending = True
        if self._crossing is not None:
            self._crossing.keep_alive = False
        elif self._asgi:
            super().shutdown()
        elif self._held or self._body is not None:  # half a message: its sender knows of no end yet
            self.deadline_s = min(self.deadline_s, self.shared.now_s + _LINGER_S)
        else:
            self._close()

    # For the sweep

    def timed_out(self) -> None:
        """Idle for too long, or too slow with a head or with what it gets."""
        self.deadline_s = math.inf
        if self._held and not self._full and not self._ending:
            head = RequestTimeout(
                "The request head did not arrive in time.", "未能及时收到请求头。"
            )
            self._refuse(head)
        elif self._full or self._swallowing or self.transport.is_closing():
            self.transport.abort()
        else:
            self.deadline_s = self.shared.now_s + _LINGER_S
            self._close()

    # What an exchange wants of its client

    def write(self, data: bytes) -> None:
        """Bytes of a reply."""
        if not self._lost and not self.transport.is_closing():
            self.transport.write(data)

    def finished(self, *, keep_alive: bool) -> None:
        """The reply is complete."""
        self._crossing = None
        self.server_state.total_requests += 1
        usual = keep_alive and not (self._held or self._lost or self._ending or self._full)
        if usual and self._body is None and not self.flow.read_paused:
            self.deadline_s = self.shared.now_s + self.keep_alive_s
            return
        if self._lost:
            self.connections.discard(self)
            return
        self._ending = self._ending or not keep_alive
        if self._body is not None:
            self._swallow()
        else:
            self._rest()

    def refuse(
        self, error: GatewayError, request_id: str, route: str, asked: Asked = NOTHING_ASKED
    ) -> None:
        """The answer is an error of ours; no reply was begun. `asked` where no exchange was."""
        shared, crossing = self.shared, self._crossing
        shared.telemetry.refused(route, error.status, error.code)
        if shared.access.errors and crossing is None:
            shared.access.refused(error, request_id, route, None, asked)
        elif shared.access.errors and crossing is not None and not crossing.answered:
            asked = crossing.asked_for()
            shared.access.refused(error, request_id, route, crossing.passage, asked)
        self._ending = self._ending or (crossing is not None and not crossing.keep_alive)
        closes = (b"connection", b"close") in error.headers or self._ending
        body = body_of(error, request_id)
        fields = dated(headers_of(error, request_id, len(body)), shared.clock.now_ms())
        if closes and (b"connection", b"close") not in fields:
            fields.append((b"connection", b"close"))
        head = serialised(STATUS_LINE[error.status], fields)
        whole = head + b"\r\n" + (b"" if self._head_only else body)
        shared.writes.put(self, whole)
        self.finished(keep_alive=not closes)

    def cut(self, *, hard: bool) -> None:
        """The reply broke off: the client can tell, by a reset where a plain end means nothing."""
        self._crossing = None
        self.shared.writes.flush()
        if self._lost:
            self.connections.discard(self)
        elif hard:
            sock = self.transport.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.deadline_s = self.shared.now_s + _LINGER_S
            self._close()

    def hold(self) -> None:
        """Read no more of the request."""
        if not self._lost:
            self.flow.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if not self._lost:
            self.flow.resume_reading()

    # Between two requests

    def _rest(self) -> None:
        """The request is over in every respect."""
        self._swallowing = 0
        if self._ending:
            self.deadline_s = self.shared.now_s + _LINGER_S
            self._close()
            return
        self.deadline_s = self.shared.now_s + self.keep_alive_s
        self.flow.resume_reading()
        if self._held:
            self._next()

    def _swallow(self) -> None:
        """Read on for a while, or the client would lose the answer to what it still sends."""
        self._swallowing = _SWALLOWED_BYTES
        self.deadline_s = self.shared.now_s + _LINGER_S
        if self.transport.is_closing():
            return
        if self._ending and self.transport.can_write_eof():
            self.shared.writes.flush()
            self.transport.write_eof()
        self.flow.resume_reading()

    def _close(self) -> None:
        """End it when all of it is written."""
        self.shared.writes.flush()
        self.transport.close()

    def _refuse(self, error: GatewayError) -> None:
        self._ending = True
        self._body = framing.opened(framing.UNTIL_CLOSE)
        self.refuse(error, self.shared.new_id(), NO_ROUTE)
