"""Reads what callers send, within bounds of size and time."""

from contextlib import suppress

import anyio
from starlette.requests import ClientDisconnect, Request


async def bounded_body(request: Request, most: int, budget_s: float) -> bytes:
    """The body, cut just above `most` bytes so that whoever asked can say that it is too large.

    What a slow or vanished caller left out is missing.
    """
    body = bytearray()
    with anyio.move_on_after(budget_s), suppress(ClientDisconnect):
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
    return bytes(body[: most + 1])
