"""The simulator as one Starlette application, put together from its parts."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from .callbacks import Callbacks
from .clock import Clock, ShiftedClock
from .control import Control
from .conversation import Conversation
from .creation import Creation
from .errors import SimulatorError
from .faults import Faults
from .intake import Intake
from .lifecycle import Lifecycle
from .marketplace import Marketplace
from .open_api import OpenApi
from .play import Play
from .settings import SimulatorSettings
from .times import HOUR_MS, MINUTE_MS
from .wire import answer

_TICK: Final = 1.0


def build_app(settings: SimulatorSettings, clock: Clock) -> Starlette:
    """The open API of spec §7 and the handles under `/_sim`. Importing or building does no IO."""
    shifted = ShiftedClock(clock)
    marketplace, faults = Marketplace(), Faults()
    intake = Intake(settings, marketplace)
    callbacks = Callbacks(settings.access_key, shifted, settings.callback_timeout)
    conversation = Conversation(callbacks, marketplace.findings, settings.production_url)
    lifecycle = Lifecycle(marketplace, conversation, shifted)
    creation = Creation(settings, marketplace, conversation, lifecycle)
    open_api = OpenApi(settings, marketplace, intake, faults, shifted)
    control = Control(marketplace, conversation, intake, faults, shifted)
    play = Play(marketplace, conversation, creation, lifecycle)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_collect_forever, settings, marketplace, shifted)
            yield
            tasks.cancel_scope.cancel()
        await callbacks.close()

    handles = Mount(
        "/_sim",
        routes=[*play.routes(), *control.routes()],
        middleware=[Middleware(LoopbackOnly)],
    )
    return Starlette(
        routes=[*open_api.routes(), handles],
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


async def _collect_forever(
    settings: SimulatorSettings, marketplace: Marketplace, clock: Clock
) -> None:
    """Collects every so many seconds, and once an hour at the minute given (spec §7.2 rule 5)."""
    if settings.collect_every is not None:
        while True:
            await anyio.sleep(settings.collect_every)
            marketplace.collect()
    if settings.collect_at_minute is not None:
        collected = collection_hour(clock.now_ms(), settings.collect_at_minute)
        while True:
            await anyio.sleep(_TICK)
            present = collection_hour(clock.now_ms(), settings.collect_at_minute)
            if present > collected:
                collected = present
                marketplace.collect()


def collection_hour(now_ms: int, minute: int) -> int:
    """A number that grows by one whenever the hour's collection is due."""
    return (now_ms - minute * MINUTE_MS) // HOUR_MS
