"""The open API for an httpx client in the same process: the real client code, without a socket.

    httpx.AsyncClient(transport=MarketplaceTransport(simulator.desk))

What hangs raises ReadTimeout at once, and an outage ConnectError: nobody waits on a wall clock.
"""

import json

import httpx

from .aksk import SignedRequest
from .desk import Desk
from .said import Said


class MarketplaceTransport(httpx.AsyncBaseTransport):
    """Answers every request with what the desk says, whatever the host."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.aread()
        said = self._desk.answer(SignedRequest(request.method, path, query, headers, body))
        if said.unreachable:
            raise httpx.ConnectError("an outage that was ordered", request=request)
        if said.lost or said.delay_s > _patience(request):
            raise httpx.ReadTimeout("an answer that never came", request=request)
        return _response(said)


def _patience(request: httpx.Request) -> float:
    """Seconds the client waits for an answer."""
    timeout = request.extensions.get("timeout", {}).get("read")
    return float("inf") if timeout is None else float(timeout)


def _response(said: Said) -> httpx.Response:
    if said.body is None or isinstance(said.body, str):
        return httpx.Response(said.status, headers=said.headers, text=said.body or "")
    content = json.dumps(said.body, ensure_ascii=False, default=str).encode()
    headers = {"content-type": "application/json", **said.headers}
    return httpx.Response(said.status, headers=headers, content=content)
