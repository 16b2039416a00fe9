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
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway import framing, parsing
from gateway.access_log import asked_only
from gateway.client_side import HEAD_S, ClientSide
from gateway.crossing import Crossing
from gateway.crossings import Crossings
from gateway.errors import (
    BadFraming,
    BadRequest,
    GatewayError,
    HeadTooLarge,
    NotCounted,
)
from gateway.express import Express
from gateway.framing import Body
from gateway.headers import dated, values_of
from gateway.known_heads import Caller, NotProxied
from gateway.raw_heads import RawRequest
from gateway.telemetry import NO_ROUTE
from gateway.trace_context import TRACEPARENT
from gateway.traced import TracedExpress
from gateway.websocket_head import check, is_asked_for
from gateway.websocket_server import BoundedWebSocket, hand_over
from gateway.wire import serialised

logger = logging.getLogger(__name__)

_AHEAD_BYTES: Final = 64 << 10  # of later requests, while a reply is open
_STARTS: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")
_CR: Final = 0x0D
_H: Final = 0x48


class LineRate(ClientSide):
    """One client's connection."""

    exchange: ClassVar[type[Express]] = Express
    _caller: Caller
    _replied = False
    _turning = False

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client."""
        super().connection_made(transport)
        peer, scheme = self.client[0] if self.client else "", self.scheme or "http"
        self._caller = Caller(peer, scheme, f" {peer} {scheme}".encode())

    def data_received(self, data: bytes) -> None:
        """Whatever the client sends."""
        try:
            if self._held or self._busy:
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

    # Requests, one after the other

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
            known, admitted, length = self.shared.heads.request(raw, self._caller)
        except NotProxied as other:
            self._serve_otherwise(other.head, raw, data[end:])
            return True
        except GatewayError as error:
            self._turn_away(error, raw, data[end:])
            return True
        shared = self.shared
        request_id = known.request_id or shared.new_id()
        crossing = self.exchange(shared, self, known, admitted, length, request_id)
        self._crossing = crossing
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
            self._close()

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
            self.deadline_s = min(self.deadline_s, self.shared.now_s + HEAD_S)
        return False

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
        trace = values_of(head.headers, TRACEPARENT)
        asked = asked_only(head.method, head.target, trace)
        self.refuse(error, self.shared.new_id(), NO_ROUTE, asked)

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
        self.shared.writes.flush()  # uvicorn writes by itself
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
        self.shared.writes.flush()
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
        self.shared.writes.put(self, serialised(STATUS_LINE[204], fields) + b"\r\n")
        self.finished(keep_alive=True)


def _is_bounded(protocol: object) -> bool:
    """Whether WebSockets are served our way; any other way is uvicorn's business."""
    return isinstance(protocol, type) and issubclass(protocol, BoundedWebSocket)


def line_rate(shared: Crossings, max_head_bytes: int, keep_alive_s: float) -> type[LineRate]:
    """The protocol class for `uvicorn.Config(http=...)`."""
    members: dict[str, Any] = {
        "shared": shared,
        "max_head_bytes": max_head_bytes,
        "keep_alive_s": keep_alive_s,
    }
    if shared.tracing is not None:
        members["exchange"] = TracedExpress
    return type("ConfiguredLineRate", (LineRate,), members)
