"""A proxy before a production address that spoils replies in one planted way."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from tallygate.addresses import Address
from tallygate.demo.upstream import bind
from tallygate.simulator.v1_signing import BODY_SIGN


@dataclass
class Reply:
    """What goes back; `activity` is that of the call, where its text names one."""

    activity: str
    status: int
    content_type: str
    body: bytes
    sign_name: str
    sign: str | None


Defect = Callable[[Reply], object]


@dataclass
class DefectiveProxy:
    """A raw ASGI application, so that header names are spelt as planted."""

    behind: str
    defect: Defect
    http: httpx.AsyncClient = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        reply = await self._passed_on(scope, body)
        self.defect(reply)
        headers = [(b"Content-Type", reply.content_type.encode())]
        if reply.sign is not None:
            headers.append((reply.sign_name.encode(), reply.sign.encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as self.http:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _passed_on(self, scope: Scope, body: bytes) -> Reply:
        url = f"{self.behind}?{scope['query_string'].decode()}"
        content = body if scope["method"] == "POST" else None
        answer = await self.http.request(scope["method"], url, content=content)
        whole = scope["query_string"] + body
        known = (b"newInstance", b"queryInstance", b"releaseInstance")
        activity = next((name.decode() for name in known if name in whole), "")
        return Reply(
            activity,
            answer.status_code,
            answer.headers["content-type"],
            answer.content,
            BODY_SIGN,
            answer.headers.get(BODY_SIGN),
        )


@contextmanager
def defective(behind: str, defect: Defect) -> Iterator[str]:
    """The URL of the proxy until the block ends."""
    listener: socket.socket = bind(Address("127.0.0.1", 0))
    config = uvicorn.Config(
        DefectiveProxy(behind, defect),
        http="h11",
        log_level="warning",
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/koogallery"
    finally:
        server.should_exit = True
        thread.join()
