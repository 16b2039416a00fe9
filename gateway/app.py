"""The two Starlette applications of a worker: customers' traffic, and what only the operator sees."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.disconnect import Drains
from gateway.gate import Gate, RequestIds
from gateway.proxy import Proxy
from gateway.relay import Recorder, Workings
from gateway.routing import RouteTable
from gateway.settings import GatewaySettings
from gateway.telemetry import Telemetry
from gateway.upstream import Upstreams
from metering.clock import Clock


def build_public(
    table: RouteTable,
    directory: Directory,
    recorder: Recorder,
    clock: Clock,
    settings: GatewaySettings,
    telemetry: Telemetry,
) -> Starlette:
    """The customers' listener: every path is the proxy's. Its lifespan closes the upstreams."""
    upstreams = Upstreams()
    gate = Gate(
        table, directory, Networks(settings.trusted_proxies), Networks(settings.trusted_peers)
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await upstreams.aclose()

    app = Starlette(lifespan=lifespan)
    # As the default, the proxy sees the scope untouched, also where a mount's pattern would not
    # match (a line feed in the path) and Starlette would answer 404 in its own words.
    workings = Workings(upstreams, recorder, clock, telemetry, Drains(telemetry))
    app.router.default = Proxy(gate, RequestIds(os.urandom), workings)
    return app


def build_admin(
    registry: CollectorRegistry,
    ready: Callable[[], str | None],
    journal: Callable[[], Mapping[str, Any]],
) -> Starlette:
    """The operator's listener. `ready` says why customers should not be sent here, None if they may.

    `journal` is what `/-/journal` shows as JSON.
    """

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        reason = ready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def show_journal(_: Request) -> Response:
        return JSONResponse(dict(journal()))

    return Starlette(
        routes=[
            Route("/-/healthz", healthz),
            Route("/-/readyz", readyz),
            Route("/-/metrics", metrics),
            Route("/-/journal", show_journal),
        ]
    )
