"""A raw ASGI driver: plays the server's part, so that tests own every message and its moment."""

import math
from contextlib import suppress
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Scope


def http_scope(**changes: Any) -> Scope:
    """The scope of a GET with an API key, with these changes."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/x",
        "raw_path": b"/v1/x",
        "query_string": b"",
        "headers": [(b"host", b"gw"), (b"x-api-key", b"sk-test")],
        "client": ("192.0.2.1", 4711),
    } | changes


class Driver:
    """One request to an ASGI application, message by message."""

    def __init__(self, app: ASGIApp, **scope: Any) -> None:
        self._app = app
        self._to_app, self._received = anyio.create_memory_object_stream[Message](math.inf)
        self._news = anyio.Event()
        self.sent: list[Message] = []
        self.scope = http_scope(**scope)

    async def run(self) -> None:
        """Call the application and return when it does."""
        async with self._to_app, self._received:
            await self._app(self.scope, self._received.receive, self.send)

    async def send(self, message: Message) -> None:
        """What the application sends; a test's server may do otherwise."""
        self.sent.append(message)
        self._news.set()

    def body(self, data: bytes = b"", *, more: bool = False) -> None:
        """A piece of the request's body arrives."""
        self._to_app.send_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        """The client hangs up; an application that is finished does not hear of it."""
        with suppress(anyio.ClosedResourceError):
            self._to_app.send_nowait({"type": "http.disconnect"})

    async def until_sent(self, count: int) -> None:
        """Return when the application sent so many messages."""
        with anyio.fail_after(10):
            while len(self.sent) < count:
                self._news = anyio.Event()
                await self._news.wait()

    @property
    def ended(self) -> bool:
        """Whether a reply was sent to its end."""
        last = self.sent[-1] if self.sent else {}
        return last.get("type") == "http.response.body" and not last.get("more_body")
