"""Bounds what a request head may make the server hold, and words uvicorn's own refusals as ours.

httptools collects an endless header line without telling anyone, hands trailers over as if they
were headers, and takes what follows an Upgrade for a new request.
"""

from collections.abc import Callable
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.errors import BadRequest, GatewayError, HeadTooLarge, body_of, headers_of
from gateway.telemetry import NO_ROUTE, Telemetry
from gateway.websocket_head import check, is_asked_for
from gateway.websocket_server import hand_over


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the bytes between two signs of progress of its parser.

    Such a sign is the end of a head, a piece of a body or the end of a message, so the bound holds
    for trailers too. A head that starts in the middle of a read may grow to twice the bound.

    Used of uvicorn 0.54: `cycle` (response_started, response_complete, more_body, keep_alive),
    `pipeline`, `parser`, `transport`, `data_received`, `send_400_response`, the parser callbacks.
    """

    max_head_bytes: ClassVar[int]
    new_id: ClassVar[Callable[[], str]]
    telemetry: ClassVar[Telemetry]

    _held = 0
    _progress = False
    _in_head = True
    _deaf = False
    _to_websocket = False
    _objection: GatewayError | None = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser, never more at once than a head may still grow."""
        while data and not self._deaf and not self.transport.is_closing():
            part = data[: self.max_head_bytes - self._held]
            data = data[len(part) :]
            self._progress = False
            super().data_received(part)
            self._held = 0 if self._progress else self._held + len(part)
            if self._held >= self.max_head_bytes:
                self._refuse(HeadTooLarge())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, since nothing behind here would know it for one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole. After an Upgrade nobody can say where a next request would start."""
        self._in_head = False
        self._progress = True
        upgrade = self.parser.should_upgrade()
        if upgrade and self._announces_body():
            self._objection = BadRequest("Send the body without 'Upgrade', as plain HTTP/1.1.")
            raise self._objection  # the parser turns it into one of its own errors
        if upgrade and self._may_become_websocket():
            try:
                check(self.headers)
            except GatewayError as objection:
                self._objection = objection
                raise
            self._to_websocket = True
        super().on_headers_complete()
        if upgrade:
            self._deaf = True
            if self._newest is not None:
                self._newest.keep_alive = False

    def _may_become_websocket(self) -> bool:
        """Not while an earlier request is being answered: then its Upgrade is ignored as others are."""
        busy = self._newest is not None and not self._newest.response_complete
        version, method = self.parser.get_http_version(), self.parser.get_method()
        served = self.ws_protocol_class is not None and not busy
        return served and is_asked_for(method, version, self.headers)

    def _should_upgrade(self) -> bool:
        """uvicorn asks at each step of the message."""
        return self._to_websocket

    def handle_websocket_upgrade(self) -> None:
        """The head asked for a WebSocket, and the message is over."""
        hand_over(self, self.url, self.headers)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_head = True
        self._progress = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, not ours
        """uvicorn could not parse what came."""
        self._refuse(self._objection or BadRequest())

    def _announces_body(self) -> bool:
        framing = (b"content-length", b"transfer-encoding")
        return any(name in framing and value != b"0" for name, value in self.headers)

    @property
    def _newest(self) -> RequestResponseCycle | None:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's annotation forgets the None
        return cycle

    def _refuse(self, error: GatewayError) -> None:
        """Answer and close; a reply in progress stays whole and is the last one instead."""
        self._deaf = True
        cycle = self._newest
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if cycle is None or not cycle.more_body or not (cycle.response_started or self.pipeline):
            self.telemetry.refused(NO_ROUTE, error.status, error.code)
            self.transport.write(_raw_answer(error, type(self).new_id()))
        self.transport.close()


def bounded_heads(
    max_head_bytes: int, new_id: Callable[[], str], telemetry: Telemetry
) -> type[BoundedHeads]:
    """The protocol class for `uvicorn.Config(http=...)`; `new_id` names refused requests."""
    members = {
        "max_head_bytes": max_head_bytes,
        "new_id": staticmethod(new_id),
        "telemetry": telemetry,
    }
    return type("ConfiguredBoundedHeads", (BoundedHeads,), members)


def _raw_answer(error: GatewayError, request_id: str) -> bytes:
    body = body_of(error, request_id)
    headers = dict(headers_of(error, request_id, len(body))) | {b"connection": b"close"}
    lines = [b"%b: %b\r\n" % field for field in headers.items()]
    return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body])
