"""The portable shell: a pure ASGI application in front of every route."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from gateway.errors import GatewayError, body_of, headers_of
from gateway.gate import Gate
from gateway.headers import dated
from gateway.passage import RequestHead
from gateway.relay import Relay
from gateway.relay_notes import turned_away
from gateway.telemetry import NO_ROUTE
from gateway.websocket_entry import WebSocketEntry
from gateway.workings import Workings


@dataclass(frozen=True, slots=True)
class Proxy:
    """The ASGI application of the public listener."""

    gate: Gate
    new_id: Callable[[], str]
    workings: Workings
    websockets: WebSocketEntry | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self.websockets is None:
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.websockets.serve(scope, receive, send)
            return
        request_id, head, workings = self.new_id(), head_of(scope), self.workings
        try:
            exchange = self.gate.open(head, request_id)
        except GatewayError as error:
            workings.telemetry.refused(NO_ROUTE, error.status, error.code)
            turned_away(workings, error, request_id, head)
            await self._answer(error, request_id, send)
            return
        with bound_contextvars(request_id=exchange.request_id):
            failure = await Relay(workings, exchange, receive, send).run()
        if failure is not None:
            workings.telemetry.refused(exchange.route.name, failure.status, failure.code)
            await self._answer(failure, exchange.request_id, send)

    async def _answer(self, error: GatewayError, request_id: str, send: Send) -> None:
        """Answer with the documented body of an error."""
        body = body_of(error, request_id)
        headers = headers_of(error, request_id, len(body))
        headers = dated(headers, self.workings.clock.now_ms())
        with suppress(OSError):  # the client left; there is nothing to record
            start = {"type": "http.response.start", "status": error.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})


def head_of(scope: Scope) -> RequestHead:
    """The request head of an ASGI scope; target and query stay the bytes that came."""
    target: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope["query_string"]
    client = scope.get("client")
    return RequestHead(
        method=scope["method"],
        target=target + b"?" + query if query else target,
        headers=[(name, value.strip(b" \t")) for name, value in scope["headers"]],
        peer=client[0] if client else "",
        scheme=scope["scheme"],
        http_version=scope["http_version"],
    )
