"""The small merchant of the simulator's tests behind a socket, on the wall clock."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallygate.addresses import Address
from tallygate.demo.upstream import bind
from tallygate.simulator.clock import WallClock
from tests.tallygate.simulator.kit_merchant import Call, KitMerchant
from tests.tallygate.simulator.stage import HandClock


class _Now(HandClock):
    def now_ms(self) -> int:
        return WallClock().now_ms()


@contextmanager
def serving_kit(spoil: Callable[[Call], object] = lambda call: None) -> Iterator[str]:
    """The production address until the block ends."""
    merchant = KitMerchant(spoil, _Now())

    async def answer(request: Request) -> Response:
        asked = httpx.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=await request.body(),
        )
        said = await merchant.handle_async_request(asked)
        response = Response(said.content, media_type="application/json")
        response.raw_headers.append((b"Body-Sign", said.headers["Body-Sign"].encode()))
        return response

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    listener: socket.socket = bind(Address("127.0.0.1", 0))
    config = uvicorn.Config(app, http="h11", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/koogallery"
    finally:
        server.should_exit = True
        thread.join()
