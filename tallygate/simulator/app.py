"""The simulator as one Starlette application, put together from its parts."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import Final

import anyio
import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from .clock import Clock
from .control import Control
from .errors import SimulatorError
from .in_process import Simulator
from .kit_play import KitPlay
from .license_play import LicensePlay
from .open_api import OpenApi
from .play import Play
from .settings import SimulatorSettings
from .showing import Showing
from .sign_in import SignIn
from .wire import answer

_TICK: Final = 1.0


def build_app(
    settings: SimulatorSettings, clock: Clock, merchant: httpx.AsyncBaseTransport | None = None
) -> Starlette:
    """The open API of spec §4 and §7, the sign-in of §5, and the handles under `/_sim`. Importing or
    building does no IO."""
    simulator = Simulator(settings, clock, merchant)
    parts = (
        LicensePlay(simulator),  # before Play, which would take `license` for an action
        Play(simulator),
        KitPlay(simulator),
        Control(simulator),
        Showing(simulator),
    )
    routes = [part.routes() for part in parts]
    centre = SignIn(simulator.directory, simulator.authority, simulator.clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_collect_forever, simulator)
            yield
            tasks.cancel_scope.cancel()
        await simulator.close()

    handles = Mount("/_sim", routes=list(chain(*routes)), middleware=[Middleware(LoopbackOnly)])
    return Starlette(
        routes=[*OpenApi(simulator.desk).routes(), *centre.routes(), handles],
        exception_handlers={SimulatorError: _refuse},
        lifespan=lifespan,
    )


class LoopbackOnly:
    """Refuses everyone who is not on this machine: the handles know every secret of the play."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and is_loopback(client[0]):
            await self._app(scope, receive, send)
        else:
            await answer({"error": "loopback only"}, 403)(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether this peer address is the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def _refuse(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, SimulatorError) else 500
    return answer({"error": str(error)}, status)


async def _collect_forever(simulator: Simulator) -> None:
    """Does what is due each second; or collects everything, whatever is due, every so often."""
    every = simulator.settings.collect_every
    while True:
        await anyio.sleep(_TICK if every is None else every)
        simulator.advance()
        if every is not None:
            simulator.marketplace.collect(simulator.clock.now_ms())
