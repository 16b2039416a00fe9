"""The customers' listener of a worker that cannot count: every call is refused, and may be repeated."""

from collections.abc import Callable
from contextlib import suppress

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError, body_of, headers_of
from gateway.headers import dated
from metering.clock import Clock


def build_refusing(
    error: Callable[[], GatewayError], new_id: Callable[[], str], clock: Clock
) -> Starlette:
    """Answers each call with an `error`, whatever it asks for."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # the body is the server's to drop
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})  # try again later
            return
        said, request_id = error(), new_id()
        body = body_of(said, request_id)
        headers = dated(headers_of(said, request_id, len(body)), clock.now_ms())
        with suppress(OSError):
            start = {"type": "http.response.start", "status": said.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": body})

    app = Starlette()
    app.router.default = refuse
    return app
