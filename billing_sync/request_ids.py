"""Names each request to the control plane, so that what is logged on its behalf can be put together."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars


@dataclass(frozen=True)
class NamedRequests:
    """Serves `app`; while it serves a request or callback, its log lines hold a `request_id`."""

    app: ASGIApp
    new_id: Callable[[], str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with bound_contextvars(request_id=self.new_id()):
            await self.app(scope, receive, send)
