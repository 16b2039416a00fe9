"""The two Starlette applications of a worker: customers' traffic, and what only the operator sees."""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.admission import Directory
from gateway.agent_metrics import AgentMetrics
from gateway.agents import Agents
from gateway.credentials import Networks
from gateway.crossings import Crossings
from gateway.cutting import Cutting
from gateway.desk import Desk
from gateway.disconnect import Drains
from gateway.front import Front
from gateway.gate import Gate, RequestIds, Served
from gateway.head_limit import bounded_heads
from gateway.known_heads import KnownHeads
from gateway.limit_settings import NO_LIMITS, Limits
from gateway.limiting import Limiting
from gateway.linerate import line_rate
from gateway.onlookers import NOBODY, Onlookers
from gateway.pools import Pools
from gateway.proxy import Proxy
from gateway.quota import Quota, QuotaSource
from gateway.recording import Recorder
from gateway.routing import RouteTable
from gateway.settings import GatewaySettings
from gateway.shared_metrics import Shown
from gateway.telemetry import Telemetry
from gateway.upstream import Upstreams
from gateway.websocket_entry import WebSocketEntry
from gateway.websocket_sharing import Sockets
from gateway.websocket_upstream import UpstreamSockets
from gateway.workings import Workings
from metering.clock import Clock

KEEP_ALIVE_S: Final = 75.0  # longer than the minute after which most load balancers close


@dataclass(frozen=True)
class Public:
    """The customers' listener: the application, and what reads its connections."""

    app: Starlette
    protocol: type[HttpToolsProtocol]  # for uvicorn.Config(http=...)
    pools: Pools
    cutting: Cutting
    _gate: Gate
    _heads: KnownHeads
    _front: Front

    def agent_metrics(self) -> AgentMetrics:
        """Of calls through the Agents gateway."""
        return AgentMetrics(self._gate.proofs, self._gate.recent)

    def tell_quota(self, source: QuotaSource) -> None:
        """Tell customers who ask what is left to them, as this source has it."""
        proxy = self._front.proxy
        telemetry, clock = proxy.workings.telemetry, proxy.workings.clock
        self._front.quota = Quota(self._gate, source, clock, telemetry, proxy.new_id)
        self._front.say()

    def serve(self, served: Served) -> None:
        """These routes and customers from now on; open exchanges keep the ones they began with.

        All or nothing, between two requests. Raises OSError for an unusable `ca_file`.
        """
        if self.pools.runs:
            self.pools.serve(served.table.routes)
        self._gate.served = served
        self._heads.serve(served.directory, served.credentials)
        self._front.say()
        self.cutting.look()

    def shut(self, shut: bool) -> None:
        """Refuse every call, or let in again who may come; open exchanges go on."""
        self._gate.shut = shut
        served = self._gate.served  # what is kept of a head would let it in
        self._heads.serve(served.directory, served.credentials)


def build_public(  # noqa: PLR0913, PLR0915  (a composition)
    table: RouteTable,
    directory: Directory,
    recorder: Recorder,
    clock: Clock,
    settings: GatewaySettings,
    telemetry: Telemetry,
    *,
    limiting: Limiting | None = None,
    agents: Agents | None = None,
    onlookers: Onlookers = NOBODY,
) -> Public:
    """The customers' listener: every path is the proxy's, but for one. Its lifespan owns the upstreams.

    Under `shell: linerate` only what is not proxied reaches the application. Without `limiting` there
    are no limits, and no package stops; without `agents` nobody is the Agents gateway.
    """
    limits = limiting.settings if limiting else NO_LIMITS
    gate, desk = _gate(served_by(table, directory, settings, limits, agents), clock, limiting)
    new_id = RequestIds(os.urandom)
    drains = Drains(telemetry)
    upstreams, pools = Upstreams(), Pools()
    heads = KnownHeads(
        gate.passage,
        directory,
        clock.now_ms,
        credentials=gate.served.credentials,
        believing=gate,
    )
    onlooking = onlookers._asdict()
    workings = Workings(upstreams, recorder, clock, telemetry, drains, desk=desk, **onlooking)
    shared = Crossings(
        heads=heads,
        pools=pools,
        recorder=recorder,
        clock=clock,
        telemetry=telemetry,
        drains=drains,
        new_id=new_id,
        loop_time=time.monotonic,
        desk=desk,
        **onlooking,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pools.running():
            pools.serve(gate.served.table.routes)
            try:
                async with limiting.running() if limiting else nullcontext(), shared.running():
                    yield
            finally:
                await upstreams.aclose()

    app = Starlette(lifespan=lifespan)
    # As the default, the proxy sees the scope untouched, also where a mount's pattern would not
    # match (a line feed in the path) and Starlette would answer 404 in its own words.
    dials = UpstreamSockets(settings.websocket.max_message_bytes)
    sockets = Sockets(gate, workings, dials, settings.websocket, settings.drain_timeout)
    proxy = Proxy(gate, new_id, workings, WebSocketEntry(sockets, new_id))
    front = app.router.default = Front(gate, proxy, settings.quota_path)
    protocol: type[HttpToolsProtocol]
    if settings.shell == "portable":
        protocol = bounded_heads(settings.max_head_bytes, new_id, telemetry)
    else:
        protocol = line_rate(shared, settings.max_head_bytes, KEEP_ALIVE_S)
    calls = (shared.exchanges, workings.relays, sockets.relays)
    cutting = Cutting(gate, clock.now_ms, calls, cuts=settings.streams_on_stop == "cut")
    return Public(app, protocol, pools, cutting, gate, heads, front)


def _gate(served: Served, clock: Clock, limiting: Limiting | None) -> tuple[Gate, Desk | None]:
    if limiting is None:
        return Gate(served, clock.now_ms), None
    return Gate(served, clock.now_ms, limiting.braking), limiting.desk


def served_by(
    table: RouteTable,
    directory: Directory,
    settings: GatewaySettings,
    limits: Limits = NO_LIMITS,
    agents: Agents | None = None,
) -> Served:
    """Routes, customers and limits, with whom these settings trust."""
    proxies, peers = Networks(settings.trusted_proxies), Networks(settings.trusted_peers)
    return Served(table, directory, proxies, peers, limits, agents)


def build_admin(
    metrics: Shown,
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

    async def show_metrics(request: Request) -> Response:
        metrics.publish()
        accept = request.headers.get("accept", "")
        own = request.query_params.get("of") == "worker"
        text, content_type = await to_thread.run_sync(partial(metrics.text, accept, own=own))
        return Response(text, headers={"content-type": content_type})

    async def show_journal(_: Request) -> Response:
        return JSONResponse(dict(journal()))

    admin = Starlette(
        routes=[
            Route("/-/healthz", healthz),
            Route("/-/readyz", readyz),
            Route("/-/metrics", show_metrics),
            Route("/-/journal", show_journal),
        ]
    )
    admin.router.redirect_slashes = False  # to the host that the caller names
    return admin
