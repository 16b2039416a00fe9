"""The line-rate shell: a client's connection whose requests become exchanges without ASGI.

A subclass of uvicorn's httptools protocol, for `uvicorn.Config(http=...)`. It takes one message at a
time: what a client sends ahead waits until the reply before it is complete, so replies keep their
order. Requests that are not proxied are handed to uvicorn byte for byte, which serves them with the
ASGI application of the process, and WebSockets too.

Used of uvicorn 0.54: `connection_made/lost`, `data_received` (which feeds its own parser, and hands
an Upgrade over), `on_response_complete`, `shutdown`, `pause_writing/resume_writing`, `flow`,
`transport`, `client`, `scheme`, `cycle` (response_complete, keep_alive) and `connections`.
"""

import asyncio
import logging
import math
import re
import socket
import struct
from contextlib import suppress
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import framing, parsing
from gateway.crossing import Crossing
from gateway.crossings import Crossings
from gateway.errors import (
    BadFraming,
    BadRequest,
    GatewayError,
    HeadTooLarge,
    NotCounted,
    RequestTimeout,
    body_of,
    headers_of,
)
from gateway.express import Express
from gateway.framing import Body
from gateway.headers import dated, values_of
from gateway.known_heads import Caller, NotProxied
from gateway.raw_heads import RawRequest
from gateway.telemetry import NO_ROUTE
from gateway.websocket_head import check, is_asked_for
from gateway.websocket_server import BoundedWebSocket, hand_over
from gateway.wire import serialised

logger = logging.getLogger(__name__)

_AHEAD_BYTES: Final = 64 << 10  # of later requests, while a reply is open
_SWALLOWED_BYTES: Final = 1 << 20  # of a body nobody wants, so that its sender reads the answer
_HEAD_S: Final = 60.0  # from a connection's, or a head's, first byte to the head's last
_LINGER_S: Final = 10.0  # for a client to take the rest and go
_STARTS: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")
_CR: Final = 0x0D
_H: Final = 0x48
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the end is a reset


class LineRate(HttpToolsProtocol):
    """One client's connection."""

    shared: ClassVar[Crossings]
    max_head_bytes: ClassVar[int]
    keep_alive_s: ClassVar[float]

    deadline_s = math.inf
    _caller: Caller
    _held = b""  # what came and is not looked at yet
    _body: Body | None = None  # of the request in progress, while some of it is to come
    _crossing: Crossing | None = None
    _asgi = False  # uvicorn serves the request in progress
    _swallowing = 0
    _ending = False  # no request follows
    _lost = False
    _full = False  # it does not take what is written
    _head_only = False
    _replied = False
    _turning = False

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client."""
        super().connection_made(transport)
        peer, scheme = self.client[0] if self.client else "", self.scheme or "http"
        self._caller = Caller(peer, scheme, f" {peer} {scheme}".encode())
        self.shared.clients.add(self)
        self.deadline_s = self.shared.loop_time() + _HEAD_S

    def data_received(self, data: bytes) -> None:
        """Whatever the client sends."""
        try:
            if self._held or self._crossing is not None or self._busy:
                self._receive(data)
            elif self._begin(data):
                self._next()
        except Exception:
            logger.exception("a client's connection failed")
            self.transport.abort()

    def _receive(self, data: bytes) -> None:
        """More of the request in progress, or what must wait until it is over."""
        if self._body is not None:
            data = self._take_body(self._body, data)
        self._held += data
        if not self._busy:
            self._next()
        elif len(self._held) > _AHEAD_BYTES:
            self.flow.pause_reading()

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
            self.transport.close()

    # For the sweep

    def timed_out(self) -> None:
        """Idle for too long, or too slow with a head or with what it gets."""
        self.deadline_s = math.inf
        if self._held and not self._full and not self._ending:
            self._refuse(RequestTimeout("The request head did not arrive in time."))
        elif self._full or self._swallowing or self.transport.is_closing():
            self.transport.abort()
        else:
            self.deadline_s = self.shared.now_s + _LINGER_S
            self.transport.close()

    # Requests, one after the other

    @property
    def _busy(self) -> bool:
        return self._crossing is not None or self._body is not None or self._asgi or self._full

    def _next(self) -> None:
        """Begin what was sent, as long as each is over at once."""
        if self._turning:
            return  # the loop further up goes on
        self._turning = True
        try:
            while self._held and not self._busy and not self.transport.is_closing():
                data, self._held = self._held, b""
                if not self._begin(data):
                    break
        except Exception:  # an earlier exchange may have brought us here, and has no part in it
            logger.exception("a client's connection failed")
            self.transport.abort()
        finally:
            self._turning = False

    def _begin(self, data: bytes) -> bool:
        """The message that starts here. Whether another one may be begun."""
        if data[0] == _CR and data[:2] == b"\r\n":  # RFC 9112 §2.2: one empty line is tolerated
            data = data[2:]
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > self.max_head_bytes:
            return self._wait_for_head(data, whole=end > 4)
        raw = data[:end]
        self._head_only = data[0] == _H and raw.startswith(b"HEAD ")
        self.deadline_s = math.inf
        try:
            known, length = self.shared.heads.request(raw, self._caller)
        except NotProxied as other:
            self._serve_otherwise(other.head, raw, data[end:])
            return True
        except GatewayError as error:
            self._turn_away(error, raw, data[end:])
            return True
        shared = self.shared
        request_id = known.passage.request_id or shared.new_id()
        self._crossing = crossing = Express(shared, self, known, length, request_id)
        if self._ending:
            crossing.keep_alive = False
        rest = data[end:]
        try:
            if length == len(rest):
                crossing.begin(rest, over=True)
            else:
                self._begin_body(crossing, framing.opened(length), rest)
        except NotCounted as error:
            self._crossing = None
            self._turn_away(error, raw, rest)
        return bool(self._held)

    def _begin_body(self, crossing: Crossing, body: Body, rest: bytes) -> None:
        try:
            piece, self._held = body.feed(rest)
        except BadFraming as error:
            self._crossing = None
            self._refuse(BadRequest(str(error)))
            return
        if not body.over:
            self._body = body
        crossing.begin(piece, over=body.over, trailers=body.trailers if body.over else [])

    def _take_body(self, body: Body, data: bytes) -> bytes:
        """More of the request in progress; what stands behind its end."""
        try:
            piece, behind = body.feed(data)
        except BadFraming as error:
            self._break(BadRequest(str(error)), data)
            return b""
        if body.over:
            self._body = None
        if self._crossing is not None:
            trailers = body.trailers if body.over else []
            self._crossing.request_piece(piece, over=body.over, trailers=trailers)
        elif self._asgi:
            super().data_received(data[: len(data) - len(behind)])
            self._maybe_over()
        else:
            self._swallowing -= len(data)
            if body.over:
                self._rest()
            elif self._swallowing < 0:
                self.transport.abort()
        return behind

    def _break(self, error: GatewayError, data: bytes) -> None:
        """Nobody can say where this request ends, so nothing follows."""
        self._body = None
        self._ending = True
        if self._crossing is not None:
            self._body = framing.opened(framing.UNTIL_CLOSE)
            self._crossing.fail(error)
        elif self._asgi:
            super().data_received(data)  # which finds it out by itself
        else:
            self.transport.close()

    def _wait_for_head(self, data: bytes, *, whole: bool) -> bool:
        self._head_only = data.startswith(b"HEAD ")
        if whole or len(data) >= self.max_head_bytes:
            self._refuse(HeadTooLarge())
        elif data not in b"\r" and (
            not _STARTS.match(data) or data.count(b"\n") != data.count(b"\r\n")
        ):
            self._refuse(BadRequest())  # at once: no end of a head would come
        else:
            self._held = data
            self.deadline_s = min(self.deadline_s, self.shared.now_s + _HEAD_S)
        return False

    # What an exchange wants of its client

    def write(self, data: bytes) -> None:
        """Bytes of a reply."""
        if not self._lost and not self.transport.is_closing():
            self.transport.write(data)

    def finished(self, *, keep_alive: bool) -> None:
        """The reply is complete."""
        self._crossing = None
        self.server_state.total_requests += 1
        if keep_alive and not (self._held or self._lost or self._ending or self._full):
            if self._body is None and not self.flow.read_paused:  # the usual case
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

    def refuse(self, error: GatewayError, request_id: str, route: str) -> None:
        """The answer is an error of ours; no reply was begun."""
        shared, crossing = self.shared, self._crossing
        shared.telemetry.refused(route, error.status, error.code)
        self._ending = self._ending or (crossing is not None and not crossing.keep_alive)
        closes = (b"connection", b"close") in error.headers or self._ending
        body = body_of(error, request_id)
        fields = dated(headers_of(error, request_id, len(body)), shared.clock.now_ms())
        if closes and (b"connection", b"close") not in fields:
            fields.append((b"connection", b"close"))
        head = serialised(STATUS_LINE[error.status], fields)
        self.write(head + b"\r\n" + (b"" if self._head_only else body))
        self.finished(keep_alive=not closes)

    def cut(self, *, hard: bool) -> None:
        """The reply broke off: the client can tell, by a reset where a plain end means nothing."""
        self._crossing = None
        if self._lost:
            self.connections.discard(self)
        elif hard:
            sock = self.transport.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.deadline_s = self.shared.now_s + _LINGER_S
            self.transport.close()

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
            self.transport.close()
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
            self.transport.write_eof()
        self.flow.resume_reading()

    def _refuse(self, error: GatewayError) -> None:
        self._ending = True
        self._body = framing.opened(framing.UNTIL_CLOSE)
        self.refuse(error, self.shared.new_id(), NO_ROUTE)

    def _turn_away(self, error: GatewayError, raw: bytes, rest: bytes) -> None:
        """Answer a head that may not pass; its body is read and dropped if it can be."""
        if (b"connection", b"close") in error.headers:
            self._refuse(error)
            return
        head = parsing.read_request(raw)
        self._ending = self._ending or not parsing.stays_open(head.headers, head.http_version)
        body = framing.request_body(head.headers, head.http_version)
        try:
            _, self._held = body.feed(rest)
        except BadFraming:
            self._refuse(BadRequest())
            return
        if not body.over:
            self._body = body
            # Who waits for 100 Continue may well send no body after this answer (RFC 9110 §10.1.1).
            self._ending = self._ending or bool(values_of(head.headers, b"expect"))
        self.refuse(error, self.shared.new_id(), NO_ROUTE)

    # What uvicorn serves

    def _serve_otherwise(self, head: RawRequest, raw: bytes, rest: bytes) -> None:
        if head.target == b"*":
            self._held = rest
            self._answer_asterisk(head)
            return
        if _is_bounded(self.ws_protocol_class) and is_asked_for(
            head.method.encode(), head.http_version, head.headers
        ):
            self._become_websocket(head, rest)
            return
        self._asgi, self._replied = True, False
        body = framing.request_body(head.headers, head.http_version)
        self._body = None if body.over else body
        super().data_received(raw)
        if self._body is not None and rest:
            self._held = self._take_body(self._body, rest)
        else:
            self._held = rest

    def _become_websocket(self, head: RawRequest, rest: bytes) -> None:
        try:
            check(head.headers)
        except GatewayError as error:
            self._refuse(error)
            return
        self.shared.clients.discard(self)
        hand_over(self, head.target, head.headers)
        successor = self.transport.get_protocol()
        if rest and isinstance(successor, asyncio.Protocol):
            successor.data_received(rest)

    def on_response_complete(self) -> None:
        """uvicorn has served it."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep does that here
        self._replied = True
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._asgi and self._replied and self._body is None:
            self._asgi = False
            if not self.transport.is_closing():
                self._rest()

    def _answer_asterisk(self, head: RawRequest) -> None:
        """`OPTIONS *` asks nobody in particular (RFC 9110 §9.3.7)."""
        self._ending = self._ending or not parsing.stays_open(head.headers, head.http_version)
        fields = [(b"x-request-id", self.shared.new_id().encode())]
        if self._ending:
            fields.append((b"connection", b"close"))
        fields = dated(fields, self.shared.clock.now_ms())
        self.write(serialised(STATUS_LINE[204], fields) + b"\r\n")
        self.finished(keep_alive=True)


def _is_bounded(protocol: object) -> bool:
    """Whether WebSockets are served our way; any other way is uvicorn's business."""
    return isinstance(protocol, type) and issubclass(protocol, BoundedWebSocket)


def line_rate(shared: Crossings, max_head_bytes: int, keep_alive_s: float) -> type[LineRate]:
    """The protocol class for `uvicorn.Config(http=...)`."""
    members = {"shared": shared, "max_head_bytes": max_head_bytes, "keep_alive_s": keep_alive_s}
    return type("ConfiguredLineRate", (LineRate,), members)
