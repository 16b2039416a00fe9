"""Looks whether the upstreams of every route can be reached: connects, and asks for nothing."""

from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import AsyncResource

from gateway.dialing import tls_context
from gateway.settings import Route
from tallygate.doctor.diagnosis import Diagnosis, finding, note, ok

_BUDGET_S: Final = 5.0
_UNIX: Final = "http+unix://"


async def look_at_routes(routes: list[Route]) -> list[Diagnosis]:
    """One line for each upstream, in the order of the configuration."""
    ways = [(route, url) for route in routes for url in route.upstream]
    found: dict[int, Diagnosis] = {}

    async def look(number: int, route: Route, url: str) -> None:
        found[number] = await _look_at(route, url)

    async with anyio.create_task_group() as group:
        for number, (route, url) in enumerate(ways):
            group.start_soon(look, number, route, url)
    if not ways:
        return [note("routes", "there are none: nothing is sold yet")]
    return [found[number] for number in sorted(found)]


async def _look_at(route: Route, url: str) -> Diagnosis:
    about = f"route {route.name}"
    try:
        with anyio.fail_after(_BUDGET_S):
            await _connected(route, url)
    except (OSError, TimeoutError, anyio.BrokenResourceError, ValueError) as failure:
        reason = str(failure) or type(failure).__name__
        return finding(about, f"{url} cannot be reached: {reason}"[:300])
    return ok(about, f"{url} can be reached")


async def _connected(route: Route, url: str) -> None:
    stream: AsyncResource
    if url.startswith(_UNIX):
        stream = await anyio.connect_unix(url.removeprefix(_UNIX))
    else:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            context = tls_context(route.pool.ca_file)
            stream = await anyio.connect_tcp(
                host, port or 443, ssl_context=context, tls_standard_compatible=False
            )
        else:
            stream = await anyio.connect_tcp(host, port or 80)
    await stream.aclose()
