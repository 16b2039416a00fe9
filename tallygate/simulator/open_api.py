"""The open API that the merchant calls, over HTTP: usage, orders, licences (spec §4, §7)."""

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .aksk import SignedRequest
from .desk import OLD_PUSH_PATH, ORDER_PATH, PUSH_PATH, Desk
from .license_desk import ACTIVATE_PATH, HEARTBEAT_PATH, UPLOAD_PATH
from .said import Said
from .wire import answer, read_body


class OpenApi:
    """Endpoints of one seller."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route(PUSH_PATH, self.call, methods=["POST"]),
            Route(OLD_PUSH_PATH, self.call, methods=["POST"]),
            Route(ORDER_PATH, self.call, methods=["GET"]),
            Route(UPLOAD_PATH, self.call, methods=["POST"]),
            Route(ACTIVATE_PATH, self.call, methods=["POST"]),
            Route(HEARTBEAT_PATH, self.call, methods=["POST"]),
        ]

    async def call(self, request: Request) -> Response:
        said = self._desk.answer(signed_request(request, await read_body(request)))
        if said.lost:
            await _hang(request, said.delay_s)
        elif said.delay_s:
            await anyio.sleep(said.delay_s)
        return _response(said)


def signed_request(request: Request, body: bytes) -> SignedRequest:
    """The request as its sender signed it: path and query before any decoding."""
    raw_path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return SignedRequest(
        method=request.method,
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=request.scope["query_string"].decode("latin-1"),
        headers=dict(request.headers),
        body=body,
    )


def _response(said: Said) -> Response:
    if said.body is None or isinstance(said.body, str):
        return Response(said.body, said.status, said.headers)
    response = answer(said.body, said.status)
    response.headers.update(said.headers)
    return response


async def _hang(request: Request, seconds: float) -> None:
    """Stays silent until the caller gives up."""
    with anyio.move_on_after(seconds):
        while (await request.receive())["type"] != "http.disconnect":
            pass
