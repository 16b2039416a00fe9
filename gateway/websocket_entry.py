"""Lets WebSockets in as the gate lets requests in; refuses before the handshake, in plain HTTP."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from gateway.errors import GatewayError, Headers, body_of, headers_of
from gateway.headers import dated
from gateway.passage import RequestHead
from gateway.relay_notes import turned_away
from gateway.telemetry import NO_ROUTE
from gateway.tracing import end
from gateway.websocket import WebSocketRelay
from gateway.websocket_head import to_client, with_key
from gateway.websocket_server import STOPPING
from gateway.websocket_session import SWITCHED
from gateway.websocket_sharing import Client, Sockets
from gateway.websocket_upstream import HandshakeRefused

_IN_HTTP: Final = "websocket.http.response"
_POLICY_VIOLATION: Final = 1008
_SCHEMES: Final = {"ws": "http", "wss": "https"}


class WebSocketEntry:
    """The part of the proxy that is asked for WebSockets."""

    def __init__(self, sockets: Sockets, new_id: Callable[[], str]) -> None:
        self._sockets = sockets
        self._new_id = new_id

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One session, or its refusal."""
        request_id = self._new_id()
        extensions = scope.get("extensions") or {}
        client = Client(receive, send, extensions.get(STOPPING) or asyncio.Event())
        try:
            head = with_key(head_of(scope))
            passage = self._sockets.gate.passage(head)
        except GatewayError as error:
            turned_away(self._sockets.workings, error, request_id, head_of(scope))
            await self._refuse(error, NO_ROUTE, request_id, scope, send)
            return
        request_id = passage.request_id or request_id
        workings, traced = self._sockets.workings, None
        if workings.tracing is not None:
            passage, traced = workings.tracing.begin_passage(passage, request_id)
        with bound_contextvars(request_id=request_id):
            refusal = await WebSocketRelay(self._sockets, head, passage, request_id, client).run()
        code = refusal.code if isinstance(refusal, GatewayError) else ""
        end(traced, SWITCHED if refusal is None else refusal.status, (0, 0), code)
        if refusal is not None:
            await self._refuse(refusal, passage.route.name, request_id, scope, send)

    async def _refuse(
        self, why: GatewayError | HandshakeRefused, route: str, request_id: str, scope: Scope, send: Send
    ) -> None:  # fmt: skip
        workings = self._sockets.workings
        if isinstance(why, GatewayError):
            workings.telemetry.refused(route, why.status, why.code)
            body = body_of(why, request_id)
            headers = headers_of(why, request_id, len(body))
        else:
            workings.telemetry.answered(route, why.status)
            headers, body = to_client(why.headers, request_id), why.body
            headers.append((b"content-length", b"%d" % len(body)))
        await _answer(why.status, dated(headers, workings.clock.now_ms()), body, scope, send)


async def _answer(status: int, headers: Headers, body: bytes, scope: Scope, send: Send) -> None:
    with suppress(OSError):  # the client left; there is nothing to record
        if _IN_HTTP not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        await send({"type": f"{_IN_HTTP}.start", "status": status, "headers": headers})
        await send({"type": f"{_IN_HTTP}.body", "body": body, "more_body": False})


def head_of(scope: Scope) -> RequestHead:
    """The head of the handshake; what the upstream is told of the scheme is HTTP's word for it."""
    query: bytes = scope["query_string"]
    client = scope.get("client")
    return RequestHead(
        method="GET",
        target=scope["raw_path"] + b"?" + query if query else scope["raw_path"],
        headers=list(scope["headers"]),
        peer=client[0] if client else "",
        scheme=_SCHEMES[scope["scheme"]],
    )
